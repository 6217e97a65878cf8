"""Views exported, run through somebody else's model, and fused again; the command line around it."""

import json

import cv2
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from remotesam.cli.main import cli
from remotesam.config import make_panorama_config
from remotesam.errors import InputError
from remotesam.panorama.view_files import export_views, fuse_files
from tests.sphere_fakes import painted


@pytest.fixture
def panorama(tmp_path):
    image, truth = painted(512, cells=12)
    cv2.imwrite(str(tmp_path / "pano.png"), image[..., ::-1])
    return str(tmp_path / "pano.png"), image, truth


def test_pictures_come_back_as_the_panorama(panorama, tmp_path):
    """The identity as a model: exported pictures fused again are the panorama, except at its sharp edges."""
    path, image, _ = panorama
    document = export_views(path, str(tmp_path / "views"), "invariant")
    fused = fuse_files(document, str(tmp_path / "fused.tif"))
    assert fused.valid.all()
    close = np.abs(fused.values - image).max(axis=2) < 3
    assert close.mean() > 0.9
    with rasterio.open(tmp_path / "fused.tif") as dataset:
        assert dataset.count == 3
        assert dataset.dtypes[0] == "float32"
        assert np.allclose(dataset.read(1), fused.values[..., 0])
        assert dataset.transform @ (512, 256) == (180, -90)
        assert dataset.dataset_mask().all()


def test_labels_from_geotiffs_with_a_missing_view(panorama, tmp_path):
    path, _, truth = panorama
    folder = tmp_path / "views"
    document = export_views(path, str(folder), "labels", make_panorama_config(views="cube", view_size=200))
    content = json.loads((folder / "views.json").read_text())
    paints = {}
    for entry in content["views"]:
        picture = cv2.imread(str(folder / entry["file"]))
        codes = picture.astype(np.int64) @ [1, 256, 65536]
        labels = np.vectorize(lambda code: paints.setdefault(int(code), len(paints) + 1))(codes).astype(
            np.int32
        )
        entry["file"] = entry["file"].replace(".png", ".tif")
        with rasterio.open(
            folder / entry["file"], "w", width=200, height=200, count=1, dtype="int32"
        ) as dataset:
            dataset.write(labels, 1)
    del content["views"][0]
    (folder / "views.json").write_text(json.dumps(content))
    fused = fuse_files(document, str(tmp_path / "labels.tif"))
    assert not fused.valid[:20].any(), "the zenith's view is missing"
    assert fused.valid[100:].all()
    for label in np.unique(truth[150:]):
        _, counts = np.unique(fused.values[100:][truth[100:] == label], return_counts=True)
        assert counts.max() > 0.8 * counts.sum()
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert np.array_equal(dataset.dataset_mask() > 0, fused.valid)


def test_command_line_exports_and_fuses(panorama, tmp_path):
    path, _, _ = panorama
    runner = CliRunner()
    outcome = runner.invoke(
        cli,
        [
            "panorama",
            path,
            "-o",
            str(tmp_path / "v"),
            "--export-views",
            "invariant",
            "--views",
            "cube",
            "--view-size",
            "64",
        ],
    )
    assert outcome.exit_code == 0, outcome.output
    assert len(list((tmp_path / "v").glob("*.png"))) == 6
    outcome = runner.invoke(
        cli, ["panorama", str(tmp_path / "v" / "views.json"), "-o", str(tmp_path / "o.tif")]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "100.0%" in outcome.output


def test_documents_that_are_wrong_say_so(panorama, tmp_path):
    path, _, _ = panorama
    document = export_views(
        path, str(tmp_path / "v"), "invariant", make_panorama_config(views="cube", view_size=64)
    )
    (tmp_path / "v" / "view_0002.png").unlink()
    with pytest.raises(InputError, match=r"view_0002\.png"):
        fuse_files(document, str(tmp_path / "o.tif"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json"):
        fuse_files(str(tmp_path / "bad.json"), str(tmp_path / "o.tif"))
