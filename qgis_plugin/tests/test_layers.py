"""Layers to engine arguments and back, in a real QGIS."""

import sqlite3

import pytest
from fake_engine import GeoPackage
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from remotesam_qgis.layers import (
    PixelArea,
    ResultGroup,
    SourceError,
    as_displayed,
    default_output,
    extent_in_layer,
    open_segments,
    pixel_area,
    release,
    source_of,
)
from remotesam_qgis.live import LiveLayer
from remotesam_qgis.styling import STYLES, apply_style

WGS84 = QgsCoordinateReferenceSystem("EPSG:4326")


def test_the_source_of_a_file_is_its_path(make_raster, tmp_path, qgis_new_project):
    path = make_raster("with blank.tif")
    assert source_of(QgsRasterLayer(str(path), "r"), tmp_path) == str(path)


def test_a_web_map_is_refused_with_advice(qgis_new_project):
    url = "type=xyz&url=https://tile.example/{z}/{x}/{y}.png&zmax=3&zmin=0"
    with pytest.raises(SourceError, match=r"wms layer.*Save As"):
        source_of(QgsRasterLayer(url, "tiles", "wms"))


def test_an_image_without_georeference_lands_on_itself(make_raster, tmp_path, qgis_new_project):
    layer = QgsRasterLayer(str(make_raster("photo.png", epsg=None)), "photo")
    vrt = source_of(layer, tmp_path)
    before = (tmp_path / "photo.pixels.vrt").stat().st_mtime_ns
    west, dx, _, north, _, dy = gdal.Open(vrt).GetGeoTransform()
    extent = layer.extent()  # where QGIS draws the image
    assert (west, north) == (extent.xMinimum(), extent.yMaximum())
    assert (west + 80 * dx, north + 60 * dy) == (extent.xMaximum(), extent.yMinimum())
    pixels = gdal.Open(vrt)  # a band does not keep its dataset alive
    assert pixels.GetRasterBand(2).ReadAsArray(10, 10, 1, 1)[0, 0] == 100
    assert source_of(layer, tmp_path) == vrt
    assert (tmp_path / "photo.pixels.vrt").stat().st_mtime_ns == before, "a new file could not be resumed"


def test_the_area_of_a_pixel_is_in_map_units_and_in_metres_where_those_are_degrees(
    make_raster, qgis_new_project
):
    utm = pixel_area(QgsRasterLayer(str(make_raster("utm.tif", size=2.0)), "utm"))
    assert (utm.area, utm.unit) == (4.0, "m²")
    assert utm.ground == pytest.approx(4.0, rel=0.01)
    degree = QgsRasterLayer(str(make_raster("ll.tif", epsg=4326, west=10, north=60.0, size=0.001)), "ll")
    pixel = pixel_area(degree)
    assert pixel.unit == "m²"
    assert pixel.area == pixel.ground == pytest.approx(111.4 * 55.8, rel=0.02)  # 0.001 degrees at 60° N
    feet = QgsRasterLayer(str(make_raster("ft.tif", epsg=2263, west=984000, north=210000, size=3.0)), "ft")
    assert (pixel_area(feet).area, pixel_area(feet).unit) == (9.0, "ft²")
    assert pixel_area(feet).ground == pytest.approx(9 * 0.0929, rel=0.01)
    web = QgsRasterLayer(str(make_raster("web.tif", epsg=3857, west=0, north=8399738, size=2.0)), "web")
    assert pixel_area(web).area == 4.0
    assert pixel_area(web).ground == pytest.approx(1.0, rel=0.02), "at 60° N Web Mercator doubles lengths"
    assert pixel_area(QgsRasterLayer(str(make_raster("p.png", epsg=None)), "p")) is None


def test_areas_become_whole_pixels_of_the_level_that_is_read():
    pixel = PixelArea(0.25, "m²", 0.25)
    assert pixel.pixels(10.1) == 40
    assert pixel.at_overview(None) == pixel
    assert pixel.at_overview(0).pixels(10.1) == 10
    assert pixel.at_overview(1).area == 4.0


def test_an_extent_is_moved_to_the_raster_and_clipped(make_raster, qgis_new_project):
    layer = QgsRasterLayer(str(make_raster()), "r")
    assert extent_in_layer(layer.extent(), layer.crs(), layer) is None
    part = extent_in_layer(QgsRectangle(499990, 4500000, 500010, 4500030), layer.crs(), layer)
    assert part == (500000, 4500000, 500010, 4500030)
    moved = extent_in_layer(QgsRectangle(14.9999, 40.6509, 15.0005, 40.6512), WGS84, layer)
    assert moved is not None
    assert 500000 <= moved[0] < moved[2] <= 500080
    with pytest.raises(SourceError, match="outside"):
        extent_in_layer(QgsRectangle(0, 0, 1, 1), WGS84, layer)


def test_as_displayed_reads_bands_and_range_of_the_style(make_raster, qgis_new_project):
    layer = QgsRasterLayer(str(make_raster()), "r")
    renderer = layer.renderer()
    renderer.setRedBand(3)
    renderer.setBlueBand(1)
    shown = as_displayed(layer)
    assert shown["bands"] == "3,2,1"


def test_the_default_output_is_new_and_next_to_the_raster(make_raster, qgis_new_project):
    path = make_raster("ortho.tif")
    layer = QgsRasterLayer(str(path), "r")
    first = path.with_name("ortho_segments.gpkg")
    assert default_output(layer) == str(first)
    first.touch()
    assert default_output(layer) == str(path.with_name("ortho_segments_2.gpkg"))


@pytest.fixture
def segments(tmp_path, qgis_new_project):
    package = GeoPackage(tmp_path / "s.gpkg")
    for i in range(5):
        package.add(500000.0 + 10 * i, 4500000.0, 5, 0.5 + 0.1 * i)
    package.commit()
    return tmp_path / "s.gpkg"


def test_classes_of_score_hold_every_segment_and_follow_the_data(segments):
    layer = open_segments(str(segments), "s")
    apply_style(layer, "score")
    ranges = layer.renderer().ranges()
    assert len(ranges) >= 4
    for feature in layer.getFeatures():
        assert any(item.lowerValue() <= feature["score"] <= item.upperValue() for item in ranges)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_draws_every_segment(segments, style):
    from qgis.core import QgsMapRendererParallelJob, QgsMapSettings
    from qgis.PyQt.QtCore import QSize
    from qgis.PyQt.QtGui import QColor

    layer = open_segments(str(segments), "s")
    apply_style(layer, style)
    canvas = QgsMapSettings()
    canvas.setLayers([layer])
    canvas.setExtent(QgsRectangle(499998, 4499998, 500048, 4500008))
    canvas.setOutputSize(QSize(500, 100))
    canvas.setBackgroundColor(QColor("black"))
    job = QgsMapRendererParallelJob(canvas)
    job.start()
    job.waitForFinished()
    picture = job.renderedImage()
    edges = [picture.pixelColor(20 + 100 * i, 55) for i in range(5)]  # western edge of each square
    assert all(colour.lightness() > 20 for colour in edges)
    if style in ("random", "score"):
        fills = {picture.pixelColor(45 + 100 * i, 55).name() for i in range(5)}
        assert len(fills) >= 4, "segments must be told apart"


def test_a_layer_grows_with_its_file(segments, qgis_new_project, make_raster):
    raster = QgsRasterLayer(str(make_raster()), "r")
    QgsProject.instance().addMapLayer(raster)
    live = LiveLayer(str(segments), "live", ResultGroup(raster.id(), "run"))
    live.refresh()
    assert live.layer.featureCount() == 5
    other = GeoPackageAppender(segments)
    other.add(500100.0, 4500000.0, 5, 0.9)
    live.refresh()
    assert live.layer.featureCount() == 5, "nobody told it"
    live.note_growth()
    live.refresh()
    assert live.layer.featureCount() == 6
    assert live.layer.extent().xMaximum() == 500105.0
    tree = QgsProject.instance().layerTreeRoot().children()
    assert [node.name() for node in tree] == ["run", "r"], "above its raster"
    QgsProject.instance().removeMapLayer(live.layer.id())
    live.note_growth()
    live.refresh()
    assert live.layer is None, "what the user removes stays removed"


class GeoPackageAppender:
    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=30)

    def add(self, *arguments):
        GeoPackage.add(self, *arguments)
        self.db.commit()


def test_a_group_that_the_user_deleted_is_made_again(segments, qgis_new_project):
    group = ResultGroup("no such raster", "run")
    root = QgsProject.instance().layerTreeRoot()
    group.add(open_segments(str(segments), "a"))
    root.removeChildNode(root.children()[0])
    group.add(open_segments(str(segments), "b"))
    assert [node.name() for node in root.children()] == ["run"]
    assert [node.name() for node in root.children()[0].children()] == ["b"]


def test_release_removes_every_layer_of_a_file_and_no_other(segments, tmp_path, qgis_new_project):
    other = tmp_path / "other.gpkg"
    other.write_bytes(segments.read_bytes())
    for path in (segments, segments, other):
        QgsProject.instance().addMapLayer(open_segments(str(path), path.stem))
    release(str(segments))
    assert [layer.name() for layer in QgsProject.instance().mapLayers().values()] == ["other"]


def test_open_segments_waits_for_a_readable_file(tmp_path):
    assert open_segments(str(tmp_path / "none.gpkg"), "x") is None
    (tmp_path / "half.gpkg").write_bytes(b"SQLite format 3\x00")
    assert open_segments(str(tmp_path / "half.gpkg"), "x") is None
    assert isinstance(QgsVectorLayer("Polygon", "m", "memory"), QgsVectorLayer)
