"""Batches: what is clicked, what is labelled and what is shown belong together, enlarged or not."""

import numpy as np
import pytest
import torch

from remotesam.scenes.hard import hard_scene
from training import data


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clicks_lie_in_their_targets_and_targets_in_one_label(share, monkeypatch):
    monkeypatch.setattr(data, "ENLARGED", (share, (0.25, 0.7)))
    scenes = [hard_scene(seed, (160, 160), kind=kind) for seed, kind in enumerate(("breeding", "dark_cars"))]
    batch = data.draw(scenes, np.random.default_rng(0), 128, 4, 6)
    assert batch.images.shape == (4, 3, 128, 128)
    assert batch.labels.shape == (4, 32, 32)
    for labels, clicks, targets in zip(batch.labels, batch.clicks, batch.targets, strict=True):
        for (x, y), target in zip(clicks, targets, strict=True):
            assert target[int(y) // data.STRIDE, int(x) // data.STRIDE] > 0
            whole = labels[target == 1]
            assert len(torch.unique(whole)) <= 1
            assert (whole > 0).all()


def test_a_pool_holds_the_share_of_hard_scenes_it_is_asked_for():
    made = {}
    for hard in (0.0, 1.0):
        pool = data.Pool(48, 5, plain=0, hard=hard, start=3, capacity=3)
        made[hard] = {name for scene in pool.at(0) for name in scene.classes}
        again = data.Pool(48, 5, plain=0, hard=hard, start=3, capacity=3)
        assert all(np.array_equal(a.image, b.image) for a, b in zip(pool.at(0), again.at(0), strict=True))
    assert made[0.0] != made[1.0]
