"""Clicks, candidates and edits in a real QGIS, against the stand-in engine."""

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QKeyEvent
from test_dock import wait_for

from remotesam_qgis import edits
from remotesam_qgis.click_controller import ClickController
from remotesam_qgis.click_page import ClickPage
from remotesam_qgis.engine.prompts import Prompts


def test_prompts_are_undone_one_by_one():
    prompts = Prompts()
    prompts.add_click(1, 2, False)
    assert not prompts.usable, "a click beside the object says nothing about the object"
    prompts.add_box((0, 0, 5, 5))
    prompts.add_box((1, 1, 4, 4))
    prompts.add_click(3, 3, True)
    assert prompts.request() == {"points": [[1, 2], [3, 3]], "labels": [0, 1], "box": [1, 1, 4, 4]}
    prompts.undo()
    prompts.undo()
    assert prompts.request() == {"points": [[1, 2]], "labels": [0], "box": [0, 0, 5, 5]}
    for _ in range(5):
        prompts.undo()
    assert not prompts


@pytest.fixture(params=["EPSG:32633", "EPSG:3857", "EPSG:4326"])
def clicking(request, fake_engine, make_raster, qgis_new_project, qgis_canvas):
    """A controller that is ready to click, in a project of another CRS than the raster's."""
    layer = QgsRasterLayer(str(make_raster("ortho.tif")), "ortho")
    QgsProject.instance().addMapLayer(layer)
    qgis_canvas.setDestinationCrs(QgsCoordinateReferenceSystem(request.param))
    page = ClickPage()
    page.model.addItem("nano")
    page.raster.setLayer(layer)
    controller = ClickController(page, qgis_canvas)
    messages = []
    controller.message.connect(lambda text, level: messages.append(text))
    page.start.setChecked(True)
    yield page, controller, layer, messages
    controller.close()
    page.deleteLater()


def at(controller, layer, x, y):
    """A place of the raster in the canvas's CRS."""
    canvas = controller._canvas.mapSettings().destinationCrs()
    return QgsCoordinateTransform(layer.crs(), canvas, QgsProject.instance()).transform(QgsPointXY(x, y))


def press(tool, key):
    tool.keyPressEvent(QKeyEvent(QKeyEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier))


def test_a_click_becomes_a_polygon_where_it_was_made(clicking):
    page, controller, layer, _ = clicking
    controller.tool.clicked.emit(at(controller, layer, 500030, 4500030), True)
    wait_for(page.accept.isEnabled)
    assert "(1/2)" in page.status.text()
    preview = controller._overlay._preview.asGeometry()
    centre = at(controller, layer, 500030, 4500030)
    assert preview.contains(QgsGeometry.fromPointXY(centre))
    press(controller.tool, Qt.Key.Key_N)
    assert "(2/2)" in page.status.text()
    press(controller.tool, Qt.Key.Key_Return)
    target = page.target.currentLayer()
    assert target.name() == "Clicked segments"
    (feature,) = target.getFeatures()
    assert feature.geometry().boundingBox() == QgsRectangle(500020, 4500020, 500040, 4500040)
    assert feature["source"] == "ortho"
    assert not page.accept.isEnabled()
    target.undoStack().undo()
    assert target.featureCount() == 0
    target.rollBack()


def test_backspace_and_escape(clicking):
    page, controller, layer, _ = clicking
    for x in (500030, 500035):
        controller.tool.clicked.emit(at(controller, layer, x, 4500030), True)
    assert len(controller._prompts.clicks) == 2
    press(controller.tool, Qt.Key.Key_Backspace)
    wait_for(page.accept.isEnabled)
    assert len(controller._prompts.clicks) == 1
    press(controller.tool, Qt.Key.Key_Escape)
    assert not controller._prompts
    assert not page.accept.isEnabled()


def test_a_box_is_sent_in_the_crs_of_the_raster(clicking):
    page, controller, layer, _ = clicking
    west_south, east_north = (
        at(controller, layer, *place) for place in ((500020, 4500020), (500040, 4500040))
    )
    controller.tool.boxed.emit(QgsRectangle(west_south, east_north))
    wait_for(page.accept.isEnabled)
    west, south, east, north = controller._prompts.box
    assert [west, south, east, north] == pytest.approx([500020, 4500020, 500040, 4500040], abs=0.5)


def test_a_refusal_of_the_engine_is_shown_and_clicking_goes_on(clicking):
    page, controller, layer, _ = clicking
    controller.tool.clicked.emit(at(controller, layer, 400000, 4500030), True)
    wait_for(lambda: "outside the raster" in page.status.text())
    controller.clear()
    controller.tool.clicked.emit(at(controller, layer, 500030, 4500030), True)
    wait_for(page.accept.isEnabled)


def test_a_click_engine_that_dies_is_explained_and_starts_again(clicking):
    page, controller, layer, messages = clicking
    wait_for(lambda: "Ready" in page.status.text())
    controller._session.request("crash")
    wait_for(lambda: bool(messages))
    assert "stopped (exit code 9)" in messages[-1]
    assert not page.start.isChecked()
    page.start.setChecked(True)
    controller.tool.clicked.emit(at(controller, layer, 500030, 4500030), True)
    wait_for(page.accept.isEnabled)


@pytest.fixture
def squares(qgis_new_project):
    """A layer of three squares of 10 m, the first two adjacent."""
    layer = edits.new_layer("squares", QgsCoordinateReferenceSystem("EPSG:32633"))
    QgsProject.instance().addMapLayer(layer)
    for number, west in enumerate((0, 10, 40)):
        rectangle = QgsGeometry.fromRect(QgsRectangle(west, 0, west + 10, 10))
        rectangle.convertToMultiType()
        feature = QgsVectorLayerUtils.createFeature(layer, rectangle, {0: 0.5 + 0.1 * number})
        layer.dataProvider().addFeatures([feature])
    yield layer
    layer.rollBack()


def state(layer):
    return sorted(
        (round(feature.geometry().area(), 6), round(feature["score"], 2)) for feature in layer.getFeatures()
    )


BEFORE = [(100.0, 0.5), (100.0, 0.6), (100.0, 0.7)]


def test_merge_joins_into_the_largest_and_is_one_undo_step(squares):
    squares.selectByExpression("score < 0.65")
    edits.merge_selected(squares)
    assert state(squares) in ([(100.0, 0.7), (200.0, 0.5)], [(100.0, 0.7), (200.0, 0.6)])
    assert squares.undoStack().count() == 1
    squares.undoStack().undo()
    assert state(squares) == BEFORE


def test_cut_out_splits_the_selected_and_loses_no_area(squares):
    squares.selectByExpression("score < 0.65")
    piece = QgsGeometry.fromRect(QgsRectangle(5, -5, 12, 20))
    assert edits.cut_out(squares, piece) == 2
    assert state(squares) == [(20.0, 0.6), (50.0, 0.5), (50.0, 0.5), (80.0, 0.6), (100.0, 0.7)]
    squares.undoStack().undo()
    assert state(squares) == BEFORE


def test_delete_and_its_undo(squares):
    squares.selectByExpression("score > 0.65")
    edits.delete_selected(squares)
    assert state(squares) == BEFORE[:2]
    squares.undoStack().undo()
    assert state(squares) == BEFORE


def test_a_new_segment_leaves_out_what_is_covered(squares):
    edits.add_segment(squares, QgsGeometry.fromRect(QgsRectangle(5, 0, 25, 10)), {"score": 0.9}, clear=True)
    assert state(squares) == [(50.0, 0.9), *BEFORE]
    with pytest.raises(edits.EditError, match="cover all"):
        edits.add_segment(squares, QgsGeometry.fromRect(QgsRectangle(1, 1, 9, 9)), {}, clear=True)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (edits.merge_selected, "two or more"),
        (edits.delete_selected, "Select"),
        (lambda layer: edits.cut_out(layer, QgsGeometry.fromRect(QgsRectangle(0, 0, 5, 5))), "Select"),
    ],
)
def test_edits_without_a_selection_say_so_and_change_nothing(squares, edit, text):
    with pytest.raises(edits.EditError, match=text):
        edit(squares)
    assert state(squares) == BEFORE
    assert not squares.isEditable()


def test_a_layer_that_cannot_be_edited_is_refused(squares):
    squares.setReadOnly(True)
    squares.selectAll()
    with pytest.raises(edits.EditError, match="cannot be edited"):
        edits.delete_selected(squares)
    squares.setReadOnly(False)
    assert isinstance(squares, QgsVectorLayer)
