"""Whole panorama runs: painted spheres with a segmenter that knows the paints, and the command line."""

import json
import threading

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner

from remotesam.config import as_dict, make_panorama_config
from remotesam.errors import Cancelled, ConfigError, InputError, OutputError, ResumeError
from remotesam.panorama.segment import segment_panorama
from remotesam.sphere import Equirect
from remotesam.sphere.geometry import areas_sr
from tests.sphere_fakes import PaintSegmenter, painted

WIDTH = 1024

QUICK = make_panorama_config(
    points_per_side=4, max_passes=1, min_area=30, absorb_area=0, simplify=0, workers="1"
)


def write(path, image, **profile):
    if profile:
        with rasterio.open(
            path, "w", height=image.shape[0], width=image.shape[1], count=3, dtype="uint8", **profile
        ) as dataset:
            dataset.write(np.moveaxis(image, 2, 0))
    else:
        cv2.imwrite(str(path), image[..., ::-1])
    return str(path)


def run(path, output, segmenter=None, config=QUICK, **more):
    return segment_panorama(path, str(output), config=config, segmenter=segmenter or PaintSegmenter(), **more)


def matched_iou(truth, found, grid):
    """For each true object the solid-angle IoU with the segment that overlaps it most."""
    weight = np.broadcast_to(grid.row_solid_angles()[:, None], truth.shape)
    ious = []
    for label in np.unique(truth[truth > 0]):
        inside = truth == label
        shares = np.bincount(found[inside], weight[inside])
        shares[0] = 0
        best = found == shares.argmax()
        ious.append(weight[inside & best].sum() / weight[inside | best].sum())
    return np.array(ious)


EXTRAS = {"labels": "labels.tif", "preview": "preview.png", "page": "page.html"}


@pytest.fixture(scope="module")
def sphere(tmp_path_factory):
    """A painted sphere, segmented once."""
    folder = tmp_path_factory.mktemp("sphere")
    image, truth = painted(WIDTH)
    path = write(folder / "pano.png", image)
    more = {name: folder / file for name, file in EXTRAS.items()}
    return folder, image, truth, run(path, folder / "out.geojson", world_file=True, **more)


def test_every_object_comes_back_once(sphere):
    _, _, truth, result = sphere
    assert len(result.objects) == len(np.unique(truth))
    assert matched_iou(truth, result.labels, result.objects.grid).min() > 0.85
    assert result.coverage > 0.95
    assert result.failed == []


def test_objects_over_seam_and_poles_are_whole_and_valid(sphere):
    _, _, truth, result = sphere
    columns = result.objects.columns
    shapes = result.objects.in_degrees()
    assert shapely.is_valid(shapes).all()
    assert columns["area_sr"].sum() == pytest.approx(result.coverage * 4 * np.pi, rel=5e-3)
    assert np.allclose(areas_sr(shapes), columns["area_sr"])
    assert sorted(columns["contains_pole"][columns["contains_pole"] != ""]) == ["north", "south"]
    crossing = np.intersect1d(truth[:, 0], truth[:, -1])
    assert columns["crosses_seam"].sum() == len(crossing)
    for k in np.flatnonzero(columns["crosses_seam"] & (columns["contains_pole"] == "")):
        assert shapes[k].geom_type == "MultiPolygon"
        assert shapely.bounds(shapes[k])[[0, 2]].tolist() == [-180, 180]
        assert columns["box_x"][k] + columns["box_width"][k] > WIDTH
        assert columns["box_width"][k] < WIDTH / 2


def test_files_of_a_run(sphere):
    folder, image, _, result = sphere
    document = json.loads((folder / "out.geojson").read_text())
    assert document["remotesam:frame"] == "camera"
    assert len(document["features"]) == len(result.objects)
    frame = gpd.read_file(folder / "out.geojson")
    assert frame.geometry.is_valid.all()
    assert set(frame["views"]) - {1}, "some objects were joined from several views"
    with rasterio.open(folder / "labels.tif") as labels:
        assert np.array_equal(labels.read(1), result.labels)
        assert labels.transform @ (WIDTH, WIDTH / 2) == (180, -90)
    preview = cv2.imread(str(folder / "preview.png"))
    assert preview.shape == image.shape
    expected = [360 / WIDTH, 0, 0, -360 / WIDTH, -180 + 180 / WIDTH, 90 - 180 / WIDTH]
    for name in ("preview.pgw", "pano.pgw"):
        assert np.allclose(np.loadtxt(folder / name), expected)
    page = (folder / "page.html").read_text()
    scene = json.loads(page.split('id="scene">')[1].split("</script>")[0])
    assert len(scene["objects"]) == len(result.objects)
    drawn = {entry["attributes"]["id"]: len(entry["rings"]) for entry in scene["objects"]}
    for label, outline in zip(result.objects.ids.tolist(), result.objects.outlines, strict=True):
        assert drawn[label] == len(shapely.get_rings(shapely.get_parts(outline)))
    assert scene["picture"].startswith("data:image/jpeg;base64,")
    assert "http:" not in page.split('id="scene">')[0], "the page needs no network"


def test_rolling_the_picture_moves_the_objects_and_nothing_else(tmp_path):
    """Another place of the seam, the same objects.

    Sampling leaves a gap of about a pixel between objects, so they are made large enough for it not to count.
    """
    image, _ = painted(WIDTH, cells=16)
    result = run(write(tmp_path / "pano.png", image), tmp_path / "first.geojson")
    shift = 411
    path = write(tmp_path / "rolled.png", np.roll(image, shift, axis=1))
    rolled = run(path, tmp_path / "out.geojson")
    back = np.roll(rolled.labels, -shift, axis=1)
    assert len(rolled.objects) == len(result.objects)
    assert matched_iou(result.labels, back, result.objects.grid).min() >= 0.95


def test_ids_do_not_depend_on_the_executor(sphere, tmp_path):
    folder, _, _, result = sphere
    threads = run(str(folder / "pano.png"), tmp_path / "out.geojson", executor="threads")
    assert np.array_equal(threads.labels, result.labels)
    for name, column in result.objects.columns.items():
        assert np.array_equal(threads.objects.columns[name], column, equal_nan=column.dtype.kind == "f")


@pytest.mark.gate
def test_workers_of_a_cluster_give_the_same_result(sphere, tmp_path):
    folder, _, _, result = sphere
    pytest.importorskip("distributed")
    config = make_panorama_config(as_dict(QUICK), workers="2")
    spread = run(str(folder / "pano.png"), tmp_path / "out.geojson", config=config, executor="dask")
    assert spread.failed == []
    assert np.array_equal(spread.labels, result.labels)


def test_a_run_takes_up_where_it_was_stopped(tmp_path):
    image, _ = painted(512)
    path = write(tmp_path / "pano.png", image)
    first = PaintSegmenter()
    whole = run(path, tmp_path / "out.geojson", first)
    for index in (3, 7):
        (tmp_path / "out.remotesam" / "tiles" / f"{index}.arrow").unlink()
    again = PaintSegmenter()
    resumed = run(path, tmp_path / "out.geojson", again)
    assert again.network_calls.encodes == 2
    assert first.network_calls.encodes == resumed.stats.units
    assert np.array_equal(resumed.labels, whole.labels)
    with pytest.raises(ResumeError, match="views"):
        run(path, tmp_path / "out.geojson", views="cube", view_size=256)


class FailsSometimes(PaintSegmenter):
    def propose(self, queries):
        found = super().propose(queries)
        if self.network_calls.encodes == 5:
            raise RuntimeError("the device broke down")
        return found


def test_a_failed_view_leaves_the_others(tmp_path):
    image, _ = painted(512)
    path = write(tmp_path / "pano.png", image)
    partial = run(path, tmp_path / "out.geojson", FailsSometimes())
    assert partial.failed == [4]
    assert 0.5 < (partial.labels > 0).mean() < 0.97
    repaired = run(path, tmp_path / "out.geojson")
    assert repaired.failed == []
    assert (repaired.labels > 0).mean() > (partial.labels > 0).mean()


def test_heading_turns_the_result_to_north(tmp_path):
    image, truth = painted(512)
    path = write(tmp_path / "pano.png", image)
    heading = 100.0
    result = run(path, tmp_path / "out.geojson", heading=heading, preview=tmp_path / "p.png")
    assert json.loads((tmp_path / "out.geojson").read_text())["remotesam:frame"] == "north"
    turned = np.roll(truth, round(heading / 360 * 512), axis=1)
    assert matched_iou(turned, result.labels, result.objects.grid).mean() > 0.9
    assert shapely.bounds(shapely.union_all(result.objects.in_degrees()))[[0, 2]].tolist() == [-180, 180]


GPANO = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> <rdf:Description
xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" GPano:FullPanoWidthPixels="1024"
 GPano:FullPanoHeightPixels="512" GPano:CroppedAreaLeftPixels="300" GPano:CroppedAreaTopPixels="120"
 GPano:CroppedAreaImageWidthPixels="500" GPano:CroppedAreaImageHeightPixels="200"/></rdf:RDF></x:xmpmeta>"""


def test_a_partial_panorama_lies_where_its_metadata_say(tmp_path):
    image, truth = painted(WIDTH)
    part = np.ascontiguousarray(image[120:320, 300:800])
    _, jpeg = cv2.imencode(".jpg", part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    payload = b"http://ns.adobe.com/xap/1.0/\0" + GPANO.encode()
    marker = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    content = jpeg.tobytes()
    (tmp_path / "part.jpg").write_bytes(content[:2] + marker + content[2:])
    # JPEG bends the paints a little; the segmenter wants them exactly.
    write(tmp_path / "plain.png", part)

    class Rounding(PaintSegmenter):
        def _regions(self, image):
            return super()._regions(nearest_paint(image))

    result = run(str(tmp_path / "part.jpg"), tmp_path / "out.geojson", Rounding())
    assert result.objects.grid.left == 300
    assert shapely.bounds(shapely.union_all(result.objects.outlines)).tolist() == [0, 0, 500, 200]
    lon, lat = result.objects.columns["lon"], result.objects.columns["lat"]
    assert lon.min() > -180 + 300 / WIDTH * 360
    assert lon.max() < -180 + 800 / WIDTH * 360
    assert np.abs(lat).max() < 50
    assert matched_iou(truth[120:320, 300:800], result.labels, result.objects.grid).mean() > 0.75
    with pytest.raises(InputError, match="not a 360"):
        run(str(tmp_path / "plain.png"), tmp_path / "plain.geojson")


def nearest_paint(image):
    from tests.sphere_fakes import PAINTS

    distance = np.abs(image[:, :, None].astype(int) - PAINTS[None, None]).max(axis=3)
    snapped = PAINTS[distance.argmin(axis=2)]
    snapped[distance.min(axis=2) > 6] = 0
    return snapped


def test_a_map_of_the_earth_is_wgs84(tmp_path):
    image, _ = painted(512)
    transform = rasterio.Affine(360 / 512, 0, -180, 0, -180 / 256, 90)
    path = write(tmp_path / "earth.tif", image, crs="EPSG:4326", transform=transform)
    run(path, tmp_path / "out.gpkg")
    frame = gpd.read_file(tmp_path / "out.gpkg", layer="segments")
    assert frame.crs == "EPSG:4326"
    assert frame.geometry.is_valid.all()
    assert frame.total_bounds.tolist() == [-180, -90, 180, 90]
    with pytest.raises(ConfigError, match="heading"):
        run(path, tmp_path / "out.gpkg", heading=10.0)
    plain = write(tmp_path / "plain.png", image)
    run(plain, tmp_path / "plain.gpkg", earth=True)
    other = gpd.read_file(tmp_path / "plain.gpkg", layer="segments")
    assert other.crs == "EPSG:4326"
    assert np.allclose(np.sort(other["area_sr"]), np.sort(frame["area_sr"]))


@pytest.mark.parametrize("name", ["out.gpkg", "out.parquet", "out.fgb", "out.geojsonl"])
def test_every_format_holds_every_attribute(sphere, tmp_path, name):
    folder, _, _, result = sphere
    written = run(str(folder / "pano.png"), tmp_path / name, run_dir=str(folder / "out.remotesam"))
    read = gpd.read_parquet if name.endswith("parquet") else gpd.read_file
    layer = {"layer": "segments"} if name.endswith("gpkg") else {}
    frame = read(tmp_path / name, **layer).sort_values("id")
    assert len(frame) == len(result.objects)
    assert frame["crosses_seam"].sum() == result.objects.columns["crosses_seam"].sum()
    assert set(frame["contains_pole"]) == {"", "north", "south"}
    assert np.allclose(frame["area_sr"], written.objects.columns["area_sr"])
    if not name.endswith("geojsonl"):
        assert "camera" in frame.crs.name
        assert not frame.crs.is_geographic


def test_annotation_documents_are_in_pixels(sphere, tmp_path):
    folder, _, _, result = sphere
    for name in ("out.coco.json", "out.labelme.json"):
        run(str(folder / "pano.png"), tmp_path / name, run_dir=str(folder / "out.remotesam"))
    document = json.loads((tmp_path / "out.coco.json").read_text())
    assert len(document["annotations"]) == len(result.objects)
    assert sum(entry["area"] for entry in document["annotations"]) == pytest.approx((result.labels > 0).sum())
    shapes = json.loads((tmp_path / "out.labelme.json").read_text())["shapes"]
    assert len({entry["group_id"] for entry in shapes}) == len(result.objects)


def test_what_cannot_work_is_refused_at_once(tmp_path):
    image, _ = painted(256)
    path = write(tmp_path / "pano.png", image)
    with pytest.raises(OutputError, match="unknown format"):
        run(path, tmp_path / "out.docx")
    with pytest.raises(OutputError, match="--coords pixel"):
        run(path, tmp_path / "out.coco.json", coords="lonlat")
    with pytest.raises(OutputError, match="folder"):
        run(path, tmp_path / "none" / "out.gpkg")
    with pytest.raises(ConfigError, match="merge"):
        run(path, tmp_path / "out.gpkg", merge="naive")
    with pytest.raises(ConfigError, match="heading"):
        run(path, tmp_path / "out.gpkg", heading=1e6)


def test_command_line_says_what_is_wrong(tmp_path):
    from remotesam.cli.main import cli

    write(tmp_path / "photo.png", np.zeros((300, 400, 3), np.uint8))
    outcome = CliRunner().invoke(
        cli, ["panorama", str(tmp_path / "photo.png"), "-o", str(tmp_path / "o.gpkg")]
    )
    assert isinstance(outcome.exception, InputError)
    assert "photo.png" in str(outcome.exception)
    assert "\n" not in str(outcome.exception)


def test_grid_of_an_odd_panorama():
    assert Equirect.whole(4061, 2031).row_solid_angles().sum() * 4061 == pytest.approx(4 * np.pi)


def test_stopping_keeps_what_is_finished(tmp_path):
    image, _ = painted(512)
    path = write(tmp_path / "pano.png", image)
    cancel, events = threading.Event(), []

    def listener(event, **fields):
        events.append(event)
        if event == "tile" and fields["done"] == 3:
            cancel.set()

    with pytest.raises(Cancelled):
        run(path, tmp_path / "out.geojson", cancel=cancel, listener=listener)
    assert events[-1] == "cancelled"
    assert not (tmp_path / "out.geojson").exists()
    again = PaintSegmenter()
    result = run(path, tmp_path / "out.geojson", again)
    assert again.network_calls.encodes == result.stats.units - 3
