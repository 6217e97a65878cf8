"""Fit the scorer of `nano-affinity` to scenes whose regions are known; used by `training.export`.

The scorer predicts the IoU of a region of the tree with the object that was clicked, from a few numbers that
the tree knows (`remotesam.segmenter.affinity.features`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from remotesam.scenes.hard import hard_scene
from remotesam.scenes.scene import scene
from remotesam.segmenter.affinity import LEAST_CELLS, AffinitySegmenter, features
from remotesam.segmenter.regions import RegionTree, merge_tree
from training.data import STRIDE, click_regions

FIRST_SCENE = 40_000_000
HIDDEN = 24
STEPS = 800


def fit(segmenter: AffinitySegmenter, *, scenes: int, clicks: int = 24) -> dict[str, torch.Tensor]:
    """Fit the scorer's weights.

    Args:
        segmenter: Gives the embedding; its own scorer is not used.
        scenes: How many scenes to learn from.
        clicks: Clicked regions per scene.

    Returns:
        The weights by name, as `Scorer` takes them.
    """
    rows = [chains(segmenter, FIRST_SCENE + number, clicks) for number in range(scenes)]
    described = torch.from_numpy(np.concatenate([x for found in rows for x, _ in found]))
    truth = torch.from_numpy(np.concatenate([y for found in rows for _, y in found]))
    centre, scale = described.mean(0), described.std(0).clamp(min=1e-3)
    torch.manual_seed(0)
    inner, outer = torch.nn.Linear(described.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    optimiser = torch.optim.Adam([*inner.parameters(), *outer.parameters()], 1e-2)
    inputs = (described - centre) / scale
    for _ in range(STEPS):
        picked = torch.randint(0, len(inputs), (4096,))
        guess = outer(torch.tanh(inner(inputs[picked])))[:, 0]
        loss = F.binary_cross_entropy_with_logits(guess, truth[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = {
        "in.weight": inner.weight,
        "in.bias": inner.bias,
        "out.weight": outer.weight,
        "out.bias": outer.bias,
    }
    return {"centre": centre, "scale": scale, **{name: value.detach() for name, value in found.items()}}


def chains(
    segmenter: AffinitySegmenter, number: int, clicks: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Give, for each click on one scene, the features and the true IoU of all regions that hold it.

    Every second scene is a hard one.
    """
    maker = hard_scene if number % 2 else scene
    example = maker(number, (segmenter.image_size, segmenter.image_size))
    picked = click_regions(example.labels, np.random.default_rng(number), clicks)
    if picked is None:
        return []
    tree = merge_tree(segmenter.embed(example.image))
    found = []
    for (x, y), mask in zip(*picked, strict=True):
        chain, iou = chain_truth(tree, int(y) // STRIDE * tree.shape[1] + int(x) // STRIDE, mask)
        found.append((features(tree, chain), iou))
    return found


def chain_truth(tree: RegionTree, cell: int, mask: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give the regions that hold a cell, and their IoU with a (H, W) bool mask at the tree's resolution."""
    rows, columns = tree.shape
    share = mask.reshape(rows, STRIDE, columns, STRIDE).mean((1, 3)).ravel()
    chain = np.array([node for node in tree.ancestors(cell) if tree.area[node] >= LEAST_CELLS], np.int64)
    shared = np.array([share[tree.cells(int(node))].sum() for node in chain])
    return chain, (shared / (share.sum() + tree.area[chain] - shared)).astype(np.float32)
