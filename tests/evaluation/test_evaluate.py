"""`remotesam evaluate` on real files: vectors and label rasters, CRSs, pixels, boxes, baselines, errors."""

import json
import subprocess
import sys

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner

from remotesam.cli.evaluate import evaluate as command
from remotesam.errors import ConfigError, InputError, RasterError
from remotesam.evaluation.baselines import baseline
from remotesam.evaluation.evaluate import evaluate
from remotesam.evaluation.label_sources import PixelGrid, Polygons, VectorLabels
from remotesam.windows import Window
from tests.pages import Page, assert_closed

UTM = "EPSG:32632"
HERE = Affine(0.5, 0, 500_000, 0, -0.5, 6_000_000)
"""0.5 m pixels, north up."""


def write_labels(path, labels, crs=UTM, transform=HERE, dtype="uint32", **more):
    height, width = labels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=dtype,
        crs=crs,
        transform=transform,
        **more,
    ) as file:
        file.write(labels.astype(dtype), 1)
    return str(path)


def write_boxes(path, boxes, crs=UTM, transform=HERE, **columns):
    """Polygons from pixel boxes (x0, y0, x1, y1)."""
    matrix = (transform.a, transform.b, transform.d, transform.e, transform.c, transform.f)
    polygons = [shapely.affinity.affine_transform(shapely.box(*box), matrix) for box in boxes]
    geopandas.GeoDataFrame(columns, geometry=polygons, crs=crs).to_file(path)
    return str(path)


def burnt(boxes, shape=(60, 80)):
    labels = np.zeros(shape, np.uint32)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = number
    return labels


FOUND = [(5, 5, 20, 20), (30, 5, 50, 25), (5, 25, 25, 55), (60, 30, 75, 50)]
TRUE = [(5, 5, 20, 19), (30, 5, 40, 25), (40, 5, 50, 25), (60, 30, 75, 50)]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.tif"
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 90, (3, 60, 80)).astype(np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(TRUE):
        pixels[:, y0:y1, x0:x1] += np.uint8(40 * number + 40)
    with rasterio.open(
        path, "w", driver="GTiff", height=60, width=80, count=3, dtype="uint8", crs=UTM, transform=HERE
    ) as file:
        file.write(pixels)
    return str(path)


def test_all_pairs_of_vectors_and_rasters_give_the_same_scores(tmp_path, image):
    found = [write_labels(tmp_path / "f.tif", burnt(FOUND)), write_boxes(tmp_path / "f.gpkg", FOUND)]
    true = [write_labels(tmp_path / "t.tif", burnt(TRUE)), write_boxes(tmp_path / "t.gpkg", TRUE)]
    scores = [evaluate(one, other, raster=image, tile_size=30).scores[0] for one in found for other in true]
    assert scores[0] == scores[1] == scores[2] == scores[3]
    first = scores[0]
    assert first.segments == 4
    assert first.coverage == pytest.approx((15 * 15 + 20 * 20 + 20 * 30 + 15 * 20) / 4800)
    # Object 1: 210/225; 2 and 3: half of one segment each; 4: exact.
    assert first.all["det_50"] == first.all["ss_det_50"] == 1
    assert first.all["ss_det_75"] == 0.5
    assert first.all["ss_miou"] == pytest.approx((210 / 225 + 0.5 + 0.5 + 1) / 4)
    assert first.asa == pytest.approx((210 + 200 + 300) / (210 + 200 + 200 + 300))
    # Segment 2 begins on x = 30 (20 px), 4 on x = 60 (20 px) and y = 30 (15 px); 3 lies across y = 30.
    assert first.seam_rate == pytest.approx((20 + 20 + 15) / (20 + 20 + 15 + 20))


def test_a_reference_in_another_crs_lands_on_the_same_pixels(tmp_path, image):
    found = write_boxes(tmp_path / "f.gpkg", FOUND)
    frame = geopandas.read_file(write_boxes(tmp_path / "t.gpkg", TRUE))
    frame.to_crs("EPSG:4326").to_file(tmp_path / "t.geojson")
    same, moved = (
        evaluate(found, tmp_path / name, raster=image).scores[0] for name in ("t.gpkg", "t.geojson")
    )
    assert moved.all["miou"] == pytest.approx(same.all["miou"], abs=0.02)
    assert moved.all["det_50"] == same.all["det_50"]


def test_a_label_raster_in_another_crs_and_resolution_is_warped(tmp_path, image):
    fine = Affine(0.25, 0, 500_000, 0, -0.25, 6_000_000)
    labels = np.kron(burnt(FOUND), np.ones((2, 2), np.uint32))
    found = write_labels(tmp_path / "fine.tif", labels, transform=fine)
    true = write_boxes(tmp_path / "t.gpkg", TRUE)
    exact = evaluate(write_boxes(tmp_path / "f.gpkg", FOUND), true, raster=image).scores[0]
    assert evaluate(found, true, raster=image).scores[0] == exact


def test_large_ids_survive_warping(tmp_path, image):
    fine = Affine(0.25, 0, 500_000, 0, -0.25, 6_000_000)
    labels = np.zeros((120, 160), np.uint32)
    labels[:60], labels[60:] = 2**32 - 1, 2**32 - 2
    found = write_labels(tmp_path / "fine.tif", labels, transform=fine)
    assert evaluate(found, write_boxes(tmp_path / "t.gpkg", TRUE), raster=image).scores[0].segments == 2


def test_pixel_coordinates_of_images_without_crs(tmp_path):
    """GeoJSON always claims EPSG:4326; on an image without CRS its numbers are pixels, y down."""
    pixels = np.zeros((3, 60, 80), np.uint8)
    with rasterio.open(
        tmp_path / "i.png", "w", driver="PNG", height=60, width=80, count=3, dtype="uint8"
    ) as file:
        file.write(pixels)
    found = write_labels(tmp_path / "f.tif", burnt(TRUE), crs=None, transform=Affine.identity())
    true = write_boxes(tmp_path / "t.geojson", TRUE, crs="EPSG:4326", transform=Affine.identity())
    scores = evaluate(found, true, raster=tmp_path / "i.png").scores[0]
    assert (scores.all["miou"], scores.all["biou"]) == (1, 1)


def test_a_rotated_grid(tmp_path, image):
    turned = Affine(0.4, 0.3, 500_000, 0.3, -0.4, 6_000_000)
    with rasterio.open(image) as source:
        pixels, profile = source.read(), source.profile
    with rasterio.open(tmp_path / "r.tif", "w", **{**profile, "transform": turned}) as file:
        file.write(pixels)
    found = write_labels(tmp_path / "f.tif", burnt(TRUE), transform=turned)
    true = write_boxes(tmp_path / "t.gpkg", TRUE, transform=turned)
    assert evaluate(found, true, raster=tmp_path / "r.tif").scores[0].all["miou"] == 1


def test_nodata_pixels_of_the_image_do_not_count(tmp_path, image):
    with rasterio.open(image, "r+") as file:
        pixels = file.read()
        pixels[:, :, 40:] = 255
        file.write(pixels)
        file.nodata = 255
    found, true = (write_boxes(tmp_path / f"{n}.gpkg", TRUE) for n in "ft")
    scores = evaluate(found, true, raster=image).scores[0]
    assert scores.objects == scores.segments == 2
    assert scores.coverage == pytest.approx((15 * 14 + 10 * 20) / (60 * 40))


def test_an_overlapping_reference_keeps_every_object_whole(tmp_path, image):
    nested = [(10, 10, 50, 50), (20, 20, 30, 30), (25, 25, 60, 35), (10, 10, 50, 50)]
    true = write_boxes(tmp_path / "t.gpkg", nested)
    whole = evaluate(write_boxes(tmp_path / "f.gpkg", nested[:1]), true, raster=image).scores[0]
    # Two objects are the segment; of the others it is 1/16, and 250 of 1600 + 100.
    assert whole.all["ss_miou"] == pytest.approx((1 + 1 + 100 / 1600 + 250 / (1600 + 100)) / 4)


def test_where_segments_overlap_the_smallest_is_on_top():
    nested = [shapely.box(20, 20, 30, 30), shapely.box(10, 10, 50, 50)]
    polygons = Polygons("p", None, np.array(nested, object), [])
    labels = VectorLabels(polygons, PixelGrid(60, 80, None, Affine.identity()), overlapping=False)
    read = labels.read(Window(0, 0, 60, 80))
    assert read.shape[0] == 1
    assert np.bincount(read.ravel())[1:].tolist() == [100, 1500]


@pytest.mark.parametrize("seed", range(4))
def test_burning_by_windows_equals_burning_at_once(seed):
    """Odd polygons, cut by window edges, must give the pixels of the whole."""
    rng = np.random.default_rng(seed)
    shapes = [
        shapely.Point(*rng.uniform(0, 60, 2)).buffer(rng.uniform(3, 25), quad_segs=int(rng.integers(1, 6)))
        for _ in range(12)
    ]
    polygons = Polygons("p", None, np.array(shapes, object), [])
    labels = VectorLabels(polygons, PixelGrid(64, 64, None, Affine.identity()), overlapping=True)
    whole = labels.read(Window(0, 0, 64, 64))
    for row, col in np.ndindex(4, 3):
        window = Window(row * 16, col * 22, 16, min(22, 64 - col * 22))
        assert (labels.read(window) == whole[:, *window.slices]).all()
    centres = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), axis=-1)
    for number, shape in enumerate(shapes, start=1):
        inside = shapely.contains_xy(shape, centres[..., 0], centres[..., 1])
        assert ((whole == number).any(axis=0) != inside).sum() <= 1


def test_scores_by_class(tmp_path, image):
    true = write_boxes(tmp_path / "t.gpkg", TRUE, kind=["roof", "field", "field", "roof"])
    found = write_boxes(tmp_path / "f.gpkg", FOUND)
    scores = evaluate(found, true, raster=image, class_field="kind").scores[0]
    # The two fields share a segment: wrong by object, right by class.
    assert scores.asa == pytest.approx(1)
    assert {name: one.objects for name, one in scores.classes.items()} == {"field": 2, "roof": 2}
    assert scores.classes["field"]["ss_miou"] == 0.5
    assert scores.classes["roof"]["ss_det_75"] == 1


def test_background_of_a_complete_reference_is_a_class(tmp_path, image):
    found = write_labels(tmp_path / "f.tif", np.ones((60, 80), np.uint32))
    true = write_boxes(tmp_path / "t.gpkg", TRUE[:1])
    partial, complete = (
        evaluate(found, true, raster=image, background=b).scores[0].asa for b in (False, True)
    )
    assert partial == 1
    assert complete == pytest.approx(1 - 15 * 14 / 4800)


def test_boxes_are_judged_by_boxes(tmp_path, image):
    true = write_boxes(tmp_path / "t.gpkg", [(10, 10, 20, 20), (40, 40, 50, 50), (70, 50, 90, 70)])
    labels = np.zeros((60, 80), np.uint32)
    labels[10:20, 10] = labels[10, 10:20] = 4  # an L whose box is the first reference box
    labels[40:50, 40:44] = 9
    found = write_labels(tmp_path / "f.tif", labels)
    scores = evaluate(found, true, raster=image, boxes=True).scores[0]
    assert (scores.objects, scores.segments) == (3, 2)
    assert scores["recall_50"] == pytest.approx(1 / 3)
    assert scores["mean_iou"] == pytest.approx((1 + 0.4 + 0) / 3)


@pytest.mark.parametrize("name", ["slic", "felzenszwalb"])
def test_baselines_reach_the_number_of_segments(name, shared_data):
    with rasterio.open(shared_data("kampala_oam/kampala_small_z21_7cm.tif")) as file:
        image = np.moveaxis(file.read(window=((0, 300), (0, 300))), 0, 2)
    for wanted in (40, 150):
        labels = baseline(name, image, np.ones((300, 300), bool), wanted)
        assert len(np.unique(labels)) == pytest.approx(wanted, rel=0.06)
        assert labels.min() == 1


def test_grid_from_a_resolution(tmp_path):
    found, true = (write_boxes(tmp_path / f"{name}.gpkg", TRUE) for name in "ft")
    judged = evaluate(found, true, resolution=0.25)
    # From x = 5 to 75 and y = 5 to 50 half-metre pixels.
    assert (judged.height, judged.width) == (90, 140)
    assert judged.scores[0].all["miou"] == 1


def test_stored_tile_size_and_raster_are_used(tmp_path, image):
    found, true = write_boxes(tmp_path / "f.gpkg", FOUND), write_boxes(tmp_path / "t.gpkg", TRUE)
    facts = {"raster": image, "tile_size": "30", "height": "60", "width": "80"}

    def store(facts):
        table = geopandas.GeoDataFrame({"key": list(facts), "value": list(facts.values())})
        pyogrio.write_dataframe(table.drop(columns="geometry", errors="ignore"), found, layer="metadata")

    store(facts)
    judged = evaluate(found, true)
    assert (judged.height, judged.width, judged.tile_size) == (60, 80, 30)
    assert judged.scores[0].seam_rate == evaluate(found, true, raster=image, tile_size=30).scores[0].seam_rate
    gone = {**facts, "raster": "gone.tif", "crs": UTM, "transform": str(list(HERE)[:6])}
    store(gone)
    assert evaluate(found, true).scores == judged.scores
    store({**facts, "height": "30"})
    other = evaluate(found, true)
    assert other.tile_size is None
    assert "another grid" in other.notes[0]


def test_a_run_that_found_nothing_is_judged_not_refused(tmp_path, image):
    frame = geopandas.GeoDataFrame({"segment_id": np.empty(0, int)}, geometry=[], crs=UTM)
    frame.to_file(tmp_path / "f.gpkg")
    true = write_boxes(tmp_path / "t.gpkg", TRUE)
    judged = evaluate(tmp_path / "f.gpkg", true, raster=image, baselines=["slic"], tile_size=30)
    scores = judged.scores[0]
    assert (scores.segments, scores.coverage, scores.asa) == (0, 0, 0)
    assert (scores.all["det_50"], scores.all["biou"], scores.all["ss_biou"]) == (0, 0, 0)
    assert np.isnan(scores.all["segments_per_object"])
    assert json.loads(judged.to_json())["scores"][0]["seam_rate"] is None
    assert "No baselines" in judged.notes[0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"segments": "missing.gpkg"}, InputError, "missing.gpkg"),
        ({"segments": "missing.tif"}, RasterError, "missing.tif"),
        ({"raster": None}, ConfigError, "--raster"),
        ({"raster": None, "baselines": ["slic"]}, ConfigError, "--raster"),
        ({"baselines": ["watershed"]}, ConfigError, "slic, felzenszwalb"),
        ({"class_field": "kind"}, ConfigError, "no attribute 'kind'; there are: name"),
        ({"raster": None, "resolution": 1e-9}, ConfigError, "units"),
        ({"raster": None, "resolution": -1}, ConfigError, "above 0"),
        ({"reference": "labels.tif", "boxes": True}, InputError, "--boxes"),
        ({"segments": "image.tif", "reference": "far.gpkg"}, InputError, "check its CRS"),
        ({"segments": "float.tif"}, InputError, "holds integers"),
        ({"reference": "points.gpkg"}, InputError, "4 features but no polygon"),
        ({"segments": "plain.tif"}, InputError, "without a CRS"),
    ],
)
def test_errors_name_the_file_and_the_way_out(tmp_path, image, monkeypatch, change, error, words):
    monkeypatch.chdir(tmp_path)
    write_boxes("true.gpkg", TRUE, name=list("abcd"))
    write_boxes("far.gpkg", TRUE, transform=Affine(0.5, 0, 590_000, 0, -0.5, 6_000_000))
    points = geopandas.GeoSeries(geopandas.read_file("true.gpkg").centroid, crs=UTM)
    geopandas.GeoDataFrame(geometry=points).to_file("points.gpkg")
    write_labels("labels.tif", burnt(TRUE))
    write_labels("float.tif", burnt(TRUE), dtype="float32")
    write_labels("plain.tif", burnt(TRUE)[:-1], crs=None, transform=Affine.identity())
    arguments = {"segments": "true.gpkg", "reference": "true.gpkg", "raster": image, **change}
    with pytest.raises(error) as caught:
        evaluate(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_prints_a_table_and_writes_json_and_html(tmp_path, image):
    found, true = (
        write_boxes(tmp_path / "f.gpkg", FOUND),
        write_boxes(tmp_path / "t.gpkg", TRUE, kind=list("abab")),
    )
    out, page = tmp_path / "s.json", tmp_path / "s.html"
    result = CliRunner().invoke(
        command,
        [found, true, "--raster", image, "--class-field", "kind", "--baselines", "slic", "--json", str(out),
         "--html", str(page)],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    rows = [line for line in result.output.splitlines() if line.startswith("| segments")]
    assert rows[0].split("|")[2].strip() == "4"
    scores = json.loads(out.read_text())["scores"]
    assert [one["method"] for one in scores] == ["segments", "slic"]
    assert scores[0]["all"]["ss_det_50"] == 1
    assert scores[0]["seam_rate"] is None
    told = Page(page.read_text(encoding="utf-8"))
    assert "img" in [tag for tag, _ in told.elements]
    assert_closed(told)


def test_json_without_a_file_is_printed(tmp_path, image):
    found, true = write_boxes(tmp_path / "f.gpkg", FOUND), write_boxes(tmp_path / "t.gpkg", TRUE)
    result = CliRunner().invoke(command, [found, true, "--raster", image, "--json"], catch_exceptions=False)
    assert json.loads(result.output)["scores"][0]["segments"] == 4


def write_cells(path, side, height, width, shift):
    """A label raster of wavy cells, written block by block; `side` px wide."""
    block = 2048
    count = width // side + 2
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint32", crs=UTM,
        transform=HERE, tiled=True, compress="deflate", zlevel=1, bigtiff="yes",
    ) as file:  # fmt: skip
        for row, col in np.ndindex(-(-height // block), -(-width // block)):
            window = Window(row * block, col * block, block, block).clip(height, width)
            y = np.arange(window.row, window.row_stop)[:, None] + shift
            x = np.arange(window.col, window.col_stop)[None] + shift
            down = (y + 9 * np.sin(x / 37)).astype(np.int64) // side + 1
            right = (x + 7 * np.sin(y / 29)).astype(np.int64) // side + 1
            labels = (down * count + right).astype(np.uint32)
            file.write(labels, 1, window=((window.row, window.row_stop), (window.col, window.col_stop)))
    return str(path)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_gigapixel_pair_of_label_rasters_stays_under_2_gib(tmp_path):
    """Peak resident memory of a fresh process, imports included."""
    size = 32768
    found = write_cells(tmp_path / "f.tif", 90, size, size, 0)
    true = write_cells(tmp_path / "t.tif", 110, size, size, 40)
    script = (
        "import resource, sys; from remotesam.evaluation.evaluate import evaluate; "
        "scores = evaluate(sys.argv[1], sys.argv[2], tile_size=1000).scores[0]; "
        "print(scores.segments, scores.coverage, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, found, true], capture_output=True, check=True, text=True
    )
    segments, coverage, kibibytes = done.stdout.split()
    assert int(segments) > 130_000
    assert float(coverage) == 1
    assert int(kibibytes) < 2 * 2**20
