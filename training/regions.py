"""Judge nano-affinity's regions by kind of scene: `python -m training.regions CHECKPOINT`.

Half of the clicks are uniform over pixels, half by the root of the objects' areas. For each: the IoU of the
object with the best region of the tree that holds the click (what a perfect choice could reach) and with the
region of the cut. Scene numbers start beyond any that training and the fit of the scorer reach.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from remotesam.scenes.hard import KINDS, hard_scene
from remotesam.scenes.scene import Scene, scene
from remotesam.segmenter.affinity import LEAST_CELLS, AffinitySegmenter, load_affinity
from remotesam.segmenter.regions import best_cut, merge_tree
from training.data import STRIDE, click_regions
from training.score import chain_truth

FIRST_SCENE = 70_000_000
SCALES = {"near": 0.12, "middle": 0.5, "far": 2.5}
"""Metres per pixel of the scenes from above that are not hard."""


def main() -> None:
    """Parse, measure, print one row per kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--scenes", type=int, default=8, help="scenes per kind")
    parser.add_argument("--clicks", type=int, default=24, help="objects clicked per scene")
    options = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = load_affinity(options.checkpoint, image_size=options.image_size)
    print("kind           tree IoU  >= 0.5  cut IoU  >= 0.5  regions per object")
    rows = []
    for kind in [*SCALES, *KINDS]:
        found = [judge(segmenter, example(kind, n, options.image_size), n, options.clicks)
                 for n in range(options.scenes)]  # fmt: skip
        tree, cut = (np.concatenate([each[k] for each in found]) for k in (0, 1))
        ratio = float(np.exp(np.mean([np.log(each[2]) for each in found])))
        rows.append((tree.mean(), (tree >= 0.5).mean(), cut.mean(), (cut >= 0.5).mean(), ratio))
        print("{:14s} {:8.3f} {:7.3f} {:8.3f} {:7.3f} {:19.2f}".format(kind, *rows[-1]), flush=True)
    print("{:14s} {:8.3f} {:7.3f} {:8.3f} {:7.3f} {:19.2f}".format("mean", *np.mean(rows, 0)))


def example(kind: str, number: int, size: int) -> Scene:
    """Make one scene of a row of the table."""
    seed, shape = FIRST_SCENE + number, (size, size)
    return hard_scene(seed, shape, kind=kind) if kind in KINDS else scene(seed, shape, gsd=SCALES[kind])


def judge(
    segmenter: AffinitySegmenter, made: Scene, number: int, clicks: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Give (clicks,) IoU of the best region of the tree and of the cut's, and regions per object."""
    picked = click_regions(made.labels, np.random.default_rng(number), clicks)
    if picked is None:
        return np.empty(0, np.float32), np.empty(0, np.float32), 1.0
    tree = merge_tree(segmenter.embed(made.image))
    scores = segmenter._scorer(tree, np.arange(len(tree.area)))
    chosen = best_cut(tree, np.where(tree.area >= LEAST_CELLS, scores, 0))
    best, cut = [], []
    for (x, y), mask in zip(*picked, strict=True):
        chain, iou = chain_truth(tree, int(y) // STRIDE * tree.shape[1] + int(x) // STRIDE, mask)
        best.append(iou.max())
        cut.append(iou[np.isin(chain, chosen)].max(initial=0))
    objects = int((np.bincount(made.labels.ravel())[1:] >= LEAST_CELLS * STRIDE**2).sum())
    regions = int((tree.area[chosen] >= LEAST_CELLS).sum())
    return np.array(best, np.float32), np.array(cut, np.float32), regions / max(objects, 1)


if __name__ == "__main__":
    main()
