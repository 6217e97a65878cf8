"""Training that goes on from a released file: nothing is lost, helper heads learn first, a state resumes."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from remotesam.segmenter.architectures import build
from training import train
from training.data import Pool
from training.network import Network

CHECKPOINT = Path(str(files("remotesam") / "segmenter" / "weights" / "nano.pt"))
HEADS = ("recall_click.", "sketch.")


@pytest.fixture
def meeting(tmp_path):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def trainer(out: Path, *arguments: str) -> train.Trainer:
    options = train.parsed(
        ["--out", str(out), "--minutes", "60", "--image-size", "64", "--images", "1", "--clicks", "2",
         "--plain", "0", "--workers", "1", "--rate", "1e-3", *arguments]
    )  # fmt: skip
    made = train.Trainer(options, 0)
    made.pool = Pool(made.size, 0, plain=0, hard=0.5, start=2, capacity=2)
    return made


def test_a_released_file_is_taken_whole():
    released = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)
    network = Network(0)
    network.take(released)
    model = build("nano")
    model.load_state_dict(released["model"])
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32))
    with torch.no_grad():
        expected = model.image_encoder(image)["backbone_fpn"]
        assert all(torch.equal(a, b) for a, b in zip(network.encode(image), expected, strict=True))
    own = network.sam.state_dict()
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())
    level, slope = network.affinity_scale
    assert torch.stack([level, F.softplus(slope)]).tolist() == pytest.approx(
        released["affinity"]["level_slope"].tolist()
    )


def test_helper_heads_learn_first_then_all_and_a_state_goes_on(tmp_path, meeting):
    made = trainer(tmp_path, "--start", str(CHECKPOINT))
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    for _ in range(2):
        made.take_step(stop=False)
    after = made.network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(HEADS) for name in changed)

    made.step = train.HEAD_STEPS + train.START_WARM_STEPS // 2
    made.take_step(stop=False)
    rest, heads = (group["lr"] for group in made.optimiser.param_groups)
    assert (rest, heads) == pytest.approx((0.5e-3, 1e-3), rel=0.01)
    moved = made.network.state_dict()["sam.image_encoder.trunk.patch_embed.proj.weight"]
    assert not torch.equal(moved, before["sam.image_encoder.trunk.patch_embed.proj.weight"])

    made.save()
    again = trainer(tmp_path, "--resume")
    assert (again.step, again.started) == (made.step, True)
    assert again.warmth() == made.warmth()
    assert all(torch.equal(v, again.network.state_dict()[k]) for k, v in made.network.state_dict().items())
    one, other = made.take_step(stop=False), again.take_step(stop=False)
    assert one == pytest.approx(other, rel=1e-4)


def test_a_fresh_start_warms_up_all_at_once(tmp_path, meeting):
    made = trainer(tmp_path)
    assert made.warmth() == (1 / train.WARM_STEPS, 1 / train.WARM_STEPS)
    made.step = train.WARM_STEPS
    assert made.warmth() == (1, 1)


def test_start_and_encoder_exclude_each_other(tmp_path, capsys):
    with pytest.raises(SystemExit):
        trainer(tmp_path, "--start", str(CHECKPOINT), "--encoder", str(CHECKPOINT))
    assert "not allowed with" in capsys.readouterr().err
