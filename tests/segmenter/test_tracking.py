"""SAM 2's video memory through our lazily made frames equals the packaged predictor on a folder of JPEGs."""

import cv2
import numpy as np
import pytest
import torch

from remotesam.segmenter.architectures import build
from remotesam.segmenter.tracking import track


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return build("nano", video=True, image_size=256)


def test_lazy_frames_equal_a_folder_of_pictures(predictor, tmp_path):
    """Frames of the network's own size, so that no resizing differs; JPEG read back, so that no pixel
    does."""
    size, count = predictor.image_size, 4
    rng = np.random.default_rng(0)
    base = cv2.resize(rng.integers(0, 255, (16, 16, 3), np.uint8), (size, size))
    frames = []
    for index in range(count):
        path = str(tmp_path / f"{index}.jpg")
        cv2.imwrite(path, np.roll(base, 7 * index, axis=1))
        frames.append(cv2.imread(path)[..., ::-1])
    points, positive = np.array([[100.0, 60.0], [20.0, 200.0]]), np.array([True, False])

    ours = dict(track(predictor, frames.__getitem__, count, (size, size), {0: (points, positive)}))

    state = predictor.init_state(str(tmp_path))
    predictor.add_new_points_or_box(
        state, 0, 1, points=points.astype(np.float32), labels=positive.astype(np.int32)
    )
    stock = {index: logits[0, 0].numpy() for index, _, logits in predictor.propagate_in_video(state)}
    assert sorted(ours) == sorted(stock) == list(range(count))
    for index in range(count):
        scale = np.abs(stock[index]).max()
        assert np.abs(ours[index] - stock[index]).max() < 2e-2 * scale


def test_frames_are_asked_for_and_not_kept(predictor):
    asked = []

    def frame(index):
        asked.append(index)
        return np.full((96, 96, 3), 40 * index, np.uint8)

    prompts = {1: (np.array([[48.0, 48.0]]), np.array([True]))}
    found = dict(track(predictor, frame, 4, (96, 96), prompts))
    assert sorted(found) == [1, 2, 3], "the walk starts at the first click"
    assert found[1].shape == (96, 96)
    assert len(asked) <= 4
