"""Architectures: official and nano through one path, no torchvision, one set of names for image and video."""

import subprocess
import sys

import pytest
import torch

from remotesam.errors import ConfigError
from remotesam.segmenter.architectures import ARCHITECTURES, build


def test_names():
    assert {"nano", "sam2.1-tiny", "sam2.1-large", "sam2-small", "sam2-base-plus"} <= set(ARCHITECTURES)
    assert len(ARCHITECTURES) == 9


def test_unknown_name_says_what_exists():
    with pytest.raises(ConfigError, match=r"huge.*choose one of nano, sam2\.1-tiny"):
        build("huge")


@pytest.mark.parametrize(("name", "millions"), [("sam2.1-tiny", 38.96), ("sam2-tiny", 38.95)])
def test_official_sizes(name, millions):
    """Parameter counts that the paper (arXiv 2408.00714, table of models) gives as 38.9 M."""
    model = build(name)
    assert model.image_size == 1024
    assert sum(v.numel() for v in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.02)
    assert not model.training


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "nano"])
def test_all_official_ones_build(name):
    with torch.device("meta"):
        assert sum(v.numel() for v in build(name).parameters()) > 30e6


def test_nano_is_small_and_both_models_load_one_checkpoint():
    image, video = build("nano"), build("nano", video=True)
    state = image.state_dict()
    assert sum(v.numel() for v in state.values()) * 2 < 20e6  # bytes in half precision
    video.load_state_dict(state)  # strict
    assert image.image_size == video.image_size == 512
    assert hasattr(video, "propagate_in_video")


@pytest.mark.parametrize("size", [256, 384])
def test_nano_at_another_size_keeps_its_weights(size):
    model = build("nano", image_size=size)
    model.load_state_dict(build("nano").state_dict())
    with torch.inference_mode():
        pyramid = model.forward_image(torch.zeros(1, 3, size, size))["backbone_fpn"]
    assert [f.shape[-1] for f in pyramid] == [size // 4, size // 8, size // 16]


def test_builds_without_torchvision():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from remotesam.segmenter.architectures import build\n"
        "build('nano'); build('nano', video=True)\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "import json; print(json.dumps(sorted(m for m in sys.modules if m.startswith('torchvision.'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
