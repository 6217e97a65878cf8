"""Objects of a panorama: seam disc, zenith cap, nadir annulus, and the documents made of them
(docs/algorithms.md#outlines-on-the-sphere)."""

import json
import math

import numpy as np
import pytest
import rasterio.features
import shapely
from shapely.geometry import mapping, shape

from remotesam.errors import InputError
from remotesam.panorama.annotations import coco, geojson_features, labelme, without_holes
from remotesam.panorama.gpano import read_gpano
from remotesam.sphere import Equirect
from remotesam.sphere.equirect import direction
from remotesam.sphere.objects import measure
from remotesam.sphere.run_lengths import find_runs

SEAM, CAP, ANNULUS, HOLE, PLAIN = 1, 2, 3, 4, 5


def directions(grid):
    lon, lat = grid.lonlat(np.arange(grid.width) + 0.5, np.arange(grid.height)[:, None] + 0.5)
    return direction(lon + grid.centre, lat)


def cap(grid, lon, lat, degrees):
    return directions(grid) @ direction(lon, lat) > math.cos(math.radians(degrees))


def picture(grid):
    """A disc over the seam, a zenith cap with a hole, ground minus tripod, and an ordinary disc."""
    labels = np.zeros((grid.height, grid.width), np.int32)
    labels[cap(grid, 179, -10, 12)] = SEAM
    labels[cap(grid, 0, 90, 30)] = CAP
    labels[cap(grid, 70, 72, 5)] = HOLE
    labels[cap(grid, 0, -90, 40) & ~cap(grid, 0, -90, 15)] = ANNULUS
    labels[cap(grid, 20, 5, 8)] = PLAIN
    return labels


def outlines(labels):
    parts = {}
    for geometry, value in rasterio.features.shapes(labels, labels > 0, connectivity=4):
        parts.setdefault(int(value), []).append(shape(geometry))
    ids = np.array(sorted(parts))
    return ids, np.array([shapely.union_all(parts[k]) for k in ids], object)


@pytest.fixture(scope="module")
def grid():
    return Equirect.whole(720)


@pytest.fixture(scope="module")
def objects(grid):
    labels = picture(grid)
    return measure(find_runs(labels, grid), *outlines(labels))


def of(objects, label, name):
    return objects.columns[name][list(objects.ids).index(label)]


def test_shapes_of_the_special_objects(objects):
    seam, top, ground = objects.in_degrees()[:3]
    assert shapely.is_valid(objects.in_degrees()).all()
    assert (seam.geom_type, len(seam.geoms)) == ("MultiPolygon", 2)
    assert min(part.bounds[0] for part in seam.geoms) == -180
    assert max(part.bounds[2] for part in seam.geoms) == 180
    assert (top.geom_type, len(top.interiors)) == ("Polygon", 1)
    assert top.bounds[::2] == (-180, 180)
    assert top.bounds[3] == 90
    assert (ground.geom_type, len(ground.interiors)) == ("Polygon", 0)
    assert ground.bounds[::2] == (-180, 180)


def test_no_tool_finds_anything_to_repair(objects):
    antimeridian = pytest.importorskip("antimeridian")
    for geometry in objects.in_degrees():
        fixed = antimeridian.fix_shape(mapping(geometry), great_circle=False, fix_winding=True)
        assert shape(fixed).normalize().equals(geometry.normalize())


def test_flags(objects):
    assert [bool(of(objects, k, "crosses_seam")) for k in (SEAM, CAP, ANNULUS, PLAIN)] == [
        True,
        True,
        True,
        False,
    ]
    assert [of(objects, k, "contains_pole") for k in (SEAM, CAP, ANNULUS, PLAIN)] == ["", "north", "", ""]


def test_areas_are_those_of_caps_and_of_the_raster(objects, grid):
    def cap_area(degrees):
        return 2 * math.pi * (1 - math.cos(math.radians(degrees)))

    assert of(objects, SEAM, "area_sr") == pytest.approx(cap_area(12), rel=0.01)
    assert of(objects, CAP, "area_sr") == pytest.approx(cap_area(30) - cap_area(5), rel=0.01)
    assert of(objects, ANNULUS, "area_sr") == pytest.approx(cap_area(40) - cap_area(15), rel=0.01)
    labels = picture(grid)
    for label in objects.ids:
        raster = (grid.row_solid_angles()[:, None] * (labels == label)).sum()
        assert of(objects, label, "area_sr") == pytest.approx(raster, rel=1e-9)
        assert of(objects, label, "area_px") == (labels == label).sum()


def test_a_full_partition_is_the_whole_sphere(grid):
    labels = np.random.default_rng(0).integers(1, 30, (12, 24), dtype=np.int32).repeat(30, 0).repeat(30, 1)
    everything = measure(find_runs(labels, grid), *outlines(labels))
    assert everything.columns["area_sr"].sum() == pytest.approx(4 * math.pi, rel=1e-9)


def test_centroids_are_mean_directions(objects):
    assert of(objects, SEAM, "lon") % 360 == pytest.approx(179, abs=0.3)
    assert of(objects, SEAM, "lat") == pytest.approx(-10, abs=0.3)
    assert of(objects, CAP, "lat") > 85
    assert of(objects, ANNULUS, "lat") == pytest.approx(-90, abs=0.3)
    assert of(objects, PLAIN, "lon") == pytest.approx(20, abs=0.3)


def test_centroids_on_a_turned_grid_count_from_its_middle():
    turned = Equirect(width=720, height=360, full_width=720, full_height=360, centre=-100.0)
    labels = cap(turned, 20, 5, 8).astype(np.int32)
    found = measure(find_runs(labels, turned), *outlines(labels))
    assert found.columns["lon"][0] == pytest.approx(120, abs=0.3)
    assert found.in_degrees()[0].centroid.x == pytest.approx(120, abs=0.5)


def test_geojson_follows_rfc_7946(objects):
    features = {f["id"]: f for f in geojson_features(objects, "lonlat")}
    west, south, east, north = features[SEAM]["bbox"]
    assert west > east
    assert south < -10 < north
    assert features[CAP]["bbox"][::2] == [-180, 180]
    assert features[CAP]["bbox"][3] == 90
    assert features[PLAIN]["bbox"][0] < features[PLAIN]["bbox"][2]
    for feature in features.values():
        geometry = shape(feature["geometry"])
        for part in shapely.get_parts(geometry):
            assert part.exterior.is_ccw
            assert not any(ring.is_ccw for ring in part.interiors)
    json.dumps(list(features.values()), allow_nan=False)


def test_pixel_geojson_is_the_outline_in_pixels(objects):
    features = {f["id"]: f for f in geojson_features(objects, "pixel")}
    assert shape(features[PLAIN]["geometry"]).equals(objects.outlines[list(objects.ids).index(PLAIN)])


def test_coco_keeps_area_without_holes(objects, grid):
    document = json.loads(json.dumps(coco(objects, "pano.jpg"), allow_nan=False))
    assert document["images"][0]["width"] == grid.width
    for entry in document["annotations"]:
        parts = [np.array(flat).reshape(-1, 2) for flat in entry["segmentation"]]
        total = sum(shapely.Polygon(part).area for part in parts)
        assert total == pytest.approx(entry["area"], rel=1e-12)
        assert entry["bbox_unwrapped"][2] > 0
    seam = next(entry for entry in document["annotations"] if entry["id"] == SEAM)
    x, _, width, _ = seam["bbox_unwrapped"]
    assert x + width > grid.width
    assert width == pytest.approx(49, abs=2)
    assert seam["bbox"][2] == grid.width


def test_labelme_groups_the_parts_of_one_object(objects):
    document = labelme(objects, "pano.jpg")
    seam = [entry for entry in document["shapes"] if entry["group_id"] == SEAM]
    assert len(seam) == 2
    assert all(entry["shape_type"] == "polygon" and len(entry["points"]) > 3 for entry in seam)


def test_many_holes_are_cut_open():
    plate = shapely.box(0, 0, 100, 100)
    holes = [shapely.Point(x, y).buffer(2) for x in range(5, 100, 10) for y in range(5, 100, 10)]
    sieve = plate.difference(shapely.union_all(holes))
    parts = without_holes(sieve)
    assert not any(part.interiors for part in parts)
    assert shapely.union_all(parts).symmetric_difference(sieve).area < 1e-9
    assert sum(part.area for part in parts) == pytest.approx(sieve.area)


# GPano metadata

ATTRIBUTES = """junk<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> <rdf:Description rdf:about=""
xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"
 GPano:ProjectionType="equirectangular" GPano:PoseHeadingDegrees="215.5" GPano:FullPanoWidthPixels="8000"
 GPano:FullPanoHeightPixels="4000" GPano:CroppedAreaLeftPixels="1000" GPano:CroppedAreaTopPixels="1200"
 GPano:CroppedAreaImageWidthPixels="6000"
 GPano:CroppedAreaImageHeightPixels="1500"/></rdf:RDF></x:xmpmeta>junk"""

ELEMENTS = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> <rdf:Description
xmlns:GPano="http://ns.google.com/photos/1.0/panorama/">
<GPano:FullPanoWidthPixels>4096</GPano:FullPanoWidthPixels><GPano:FullPanoHeightPixels> 2048
</GPano:FullPanoHeightPixels> </rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_gpano_as_attributes_of_a_resized_partial_panorama():
    found = read_gpano(ATTRIBUTES, 3000, 750)
    assert found is not None
    assert found.heading == 215.5
    assert (found.grid.full_width, found.grid.full_height) == (4000, 2000)
    assert (found.grid.left, found.grid.top, found.grid.width, found.grid.height) == (500, 600, 3000, 750)
    assert not found.grid.wraps


def test_gpano_as_elements():
    found = read_gpano(ELEMENTS, 4096, 2048)
    assert found is not None
    assert found.grid == Equirect.whole(4096)
    assert found.heading == 0


def test_gpano_that_is_not_there_or_wrong():
    assert read_gpano("", 100, 50) is None
    assert read_gpano("<x:xmpmeta xmlns:x='adobe:ns:meta/'><a/></x:xmpmeta>", 100, 50) is None
    for bad in (
        ATTRIBUTES.replace('"equirectangular"', '"cylindrical"'),
        ATTRIBUTES.replace('"8000"', '"wide"'),
        ATTRIBUTES.replace("</rdf:RDF>", ""),
        ATTRIBUTES.replace('Left="1000"', "").replace('LeftPixels="1000"', 'LeftPixels="5000"'),
    ):
        with pytest.raises(InputError):
            read_gpano(bad, 6000, 1500)
    with pytest.raises(InputError, match="strip or correct"):
        read_gpano(ATTRIBUTES, 3000, 3000)
