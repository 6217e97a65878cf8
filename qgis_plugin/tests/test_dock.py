"""The panel and its runs in a real QGIS, against the stand-in engine."""

import json
import threading
import time
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QCoreApplication, Qt, QThread
from qgis.PyQt.QtWidgets import QMainWindow, QWidget

from remotesam_qgis import settings
from remotesam_qgis.dock import Dock
from remotesam_qgis.engine.info import EngineInfo
from remotesam_qgis.options import OptionsPage
from remotesam_qgis.run_controller import RunController
from remotesam_qgis.task import EngineTask


def wait_for(condition, seconds=30.0):
    """Let Qt work until a condition holds; returns the most processor time between two looks, in seconds."""
    deadline, longest, last = time.monotonic() + seconds, 0.0, time.thread_time()
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        QCoreApplication.processEvents()
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        time.sleep(0.005)
    return longest


@pytest.fixture
def panel(profile, fake_engine, make_raster, qgis_new_project, qgis_canvas):
    """Dock, controller and the messages they gave; a raster is in the project."""
    layer = QgsRasterLayer(str(make_raster("ortho.tif")), "ortho")
    QgsProject.instance().addMapLayer(layer)
    window = QMainWindow()
    dock = Dock(qgis_canvas, window)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    dock.hide()
    window.show()
    dock.segment.raster.setLayer(layer)
    controller = RunController(dock.segment, dock)
    messages = []
    controller.message.connect(lambda text, level: messages.append(text))
    yield dock, controller, messages
    controller.close()
    dock.finder.close()
    wait_for(lambda: QgsApplication.taskManager().countActiveTasks() == 0)
    QgsProject.instance().clear()
    window.deleteLater()


def tree():
    """Layer tree as nested names."""

    def names(node):
        return [
            (child.name(), names(child)) if child.children() else child.name() for child in node.children()
        ]

    return names(QgsProject.instance().layerTreeRoot())


def test_a_run_from_the_panel_ends_in_a_styled_layer_above_the_raster(panel, tmp_path):
    dock, controller, messages = panel
    page = dock.segment
    assert page.output.filePath() == str(tmp_path / "ortho_segments.gpkg")
    page.run.click()
    assert controller.running
    assert not page.run.isEnabled()
    wait_for(lambda: not controller.running)
    assert messages[-1] == "24 segments."
    assert tree() == [("Segments of ortho", ["ortho_segments"]), "ortho"]
    (layer,) = QgsProject.instance().mapLayersByName("ortho_segments")
    assert layer.featureCount() == 24
    assert page.bar.value() == 100
    assert layer.renderer().type() == "singleSymbol"
    page.style.setCurrentIndex(page.style.findData("score"))
    assert layer.renderer().type() == "graduatedSymbol", "a result follows the choice of style"
    assert page.output.filePath() == str(tmp_path / "ortho_segments_2.gpkg"), "a new name for the next run"


def test_polygons_arrive_while_the_engine_works_and_the_interface_stays_alive(panel, monkeypatch):
    dock, controller, _ = panel
    monkeypatch.setenv("FAKE_ENGINE", "slow")
    monkeypatch.setenv("FAKE_TILES", "20")
    dock.segment.run.click()
    counts = []

    def look():
        layers = QgsProject.instance().mapLayersByName("Arriving…")
        counts.append(layers[0].featureCount() if layers else 0)
        return not controller.running

    longest = wait_for(look)
    growing = sorted(set(counts))
    assert len(growing) >= 3, growing
    assert 0 < growing[1] < 80
    assert longest < 0.25, "no slot may hold the interface, whatever the machine's load"
    assert not QgsProject.instance().mapLayersByName("Arriving…")


def test_cancel_keeps_finished_tiles_and_the_next_run_writes_the_same_file(panel, monkeypatch):
    dock, controller, messages = panel
    page = dock.segment
    name = page.output.filePath()
    monkeypatch.setenv("FAKE_ENGINE", "slow")
    page.run.click()
    wait_for(lambda: "2 / 6" in page.status.text())
    page.cancel.click()
    assert not page.cancel.isEnabled()
    wait_for(lambda: not controller.running)
    assert "Finished tiles are kept".lower() in messages[-1].lower()
    assert tree() == [("Segments of ortho", ["ortho_segments (partial)"]), "ortho"]
    assert page.output.filePath() == name
    monkeypatch.setenv("FAKE_ENGINE", "")
    page.run.click()
    wait_for(lambda: not controller.running)
    assert tree() == [("Segments of ortho", ["ortho_segments"]), "ortho"], "the partial layer was replaced"


@pytest.mark.parametrize(
    ("mode", "text"), [("crash", "reason of the crash"), ("kill_self", "memory"), ("error", "row 7")]
)
def test_a_dead_engine_is_explained_and_the_panel_ready_again(panel, monkeypatch, mode, text):
    dock, controller, messages = panel
    monkeypatch.setenv("FAKE_ENGINE", mode)
    dock.segment.run.click()
    wait_for(lambda: not controller.running)
    assert text in messages[-1]
    assert dock.segment.run.isEnabled()
    assert dock.segment.status.text().startswith(messages[-1][:20])


def test_closing_during_a_run_stops_the_engine(panel, monkeypatch):
    dock, controller, _ = panel
    monkeypatch.setenv("FAKE_ENGINE", "slow")
    monkeypatch.setenv("FAKE_TILES", "1000")
    dock.segment.run.click()
    wait_for(lambda: "tiles" in dock.segment.status.text())
    task = controller._task
    controller.close()
    wait_for(lambda: task.outcome.returncode == 3, seconds=20)


def test_what_is_changed_in_the_advanced_form_reaches_the_engine(panel):
    dock, controller, _ = panel
    form = dock.segment.form
    assert form.changed() == {}
    form.set_values({"min_area": 40, "decay": False, "merge": "none", "bands": "3,2,1", "iou_start": 0.9})
    assert form.changed() == {
        "min_area": 40, "decay": False, "merge": "none", "bands": "3,2,1", "iou_start": 0.9,
    }  # fmt: skip
    dock.segment.extent.setOutputExtentFromUser(
        QgsRectangle(500010, 4500010, 500030, 4500040), dock.segment.raster.currentLayer().crs()
    )
    dock.segment.run.click()
    wait_for(lambda: not controller.running)
    line = next(line for line in dock.segment.log.toPlainText().splitlines() if "arguments: " in line)
    words = json.loads(line.split("arguments: ")[1])
    pairs = dict(zip(words, words[1:]))
    assert pairs["--min-area"] == "40"
    assert pairs["--bands"] == "3,2,1"
    assert pairs["--iou-start"] == "0.9"
    assert pairs["--aoi"] == "500010.0,4500010.0,500030.0,4500040.0"
    assert "--no-decay" in words
    form.reset()
    assert form.changed() == {}


def test_an_area_typed_in_map_units_reaches_the_engine_in_pixels(panel, make_raster):
    dock, controller, _ = panel
    layer = QgsRasterLayer(str(make_raster("fine.tif", size=0.5)), "fine")
    QgsProject.instance().addMapLayer(layer)
    page, box = dock.segment, dock.segment.form.findChild(QWidget, "min_area")
    page.raster.setLayer(layer)
    assert [box.unit.itemText(i) for i in range(box.unit.count())] == ["px", "m²"]
    box.unit.setCurrentText("m²")
    assert box.number.value() == 25.0, "the same area, in another unit"
    assert page.form.changed() == {}
    box.number.setValue(12.5)
    page.form.set_values({"overview": "0"})
    assert page.form.changed()["min_area"] == 12, "pixels of the overview are four times as large"
    page.form.set_values({"overview": ""})
    assert page.form.changed() == {"min_area": 50}
    page.run.click()
    wait_for(lambda: not controller.running)
    log = page.log.toPlainText()
    assert "Min area: 12.5 m² = 50 px (a pixel at the raster's centre is 0.25 m²)" in log
    assert "--min-area 50" in log
    photo = QgsRasterLayer(str(make_raster("photo.png", epsg=None)), "photo")
    QgsProject.instance().addMapLayer(photo)
    page.raster.setLayer(photo)
    assert page.form.changed() == {"min_area": 50}, "without a CRS there are pixels only"
    assert box.unit.count() == 1


def test_the_page_names_the_device_the_engine_works_on(panel):
    dock, controller, _ = panel
    dock.segment.run.click()
    wait_for(lambda: not controller.running)
    assert dock.segment.time.text().endswith("nano on cpu")


def test_a_setting_unknown_to_this_plugin_appears_by_itself(panel):
    dock, _, _ = panel
    schema = {
        "properties": {
            "brand_new": {"type": "integer", "minimum": 2, "maximum": 9, "default": 4, "description": "New."},
            "min_area": {"type": "integer", "minimum": 0, "default": 100},
        }
    }
    dock.segment.form.set_values({"min_area": 7})
    dock.segment.show_info(EngineInfo({"remotesam": "9"}, schema))
    assert dock.segment.form.names() == ["min_area", "brand_new"]
    assert dock.segment.form.changed() == {"min_area": 7}, "what was typed survives a new schema"
    dock.segment.form.set_values({"brand_new": 100})
    assert dock.segment.form.changed()["brand_new"] == 9, "limits of the schema hold"


def test_the_schema_of_the_release_has_a_row_for_every_setting(panel):
    dock, _, _ = panel
    schema = json.loads(Path(settings.info.SNAPSHOT).read_text(encoding="utf-8"))
    names = dock.segment.form.names()
    assert set(names) == set(schema["properties"]) - {"model", "aoi"}
    assert len(names) == len(set(names))


@pytest.mark.parametrize("output", ["", "x.shp"])
def test_impossible_requests_are_refused_before_anything_starts(panel, output):
    dock, controller, messages = panel
    dock.segment.output.setFilePath(output)
    dock.segment.run.click()
    assert not controller.running
    assert len(messages) == 1


def test_the_estimate_is_shown(panel):
    dock, _, messages = panel
    dock.segment.plan.click()
    wait_for(lambda: bool(messages))
    assert messages == ["6 tiles · 97% of the pixels hold data"]


def test_the_panel_asks_the_engine_when_it_is_first_shown(panel, tmp_path):
    dock, _, _ = panel
    dock.show()
    wait_for(lambda: "0.0-fake" in dock.engine_label.text())
    assert dock.banner.isHidden()
    kept = json.loads((tmp_path / "cache" / "engine.json").read_text(encoding="utf-8"))
    assert kept["doctor"]["protocol"] == 1
    assert dock.segment.form.names()[0] == "tile_size", "the fake engine's own schema"


def test_a_missing_engine_shows_how_to_install_it(panel, monkeypatch, tmp_path):
    dock, controller, messages = panel
    monkeypatch.setenv("REMOTESAM_EXECUTABLE", str(tmp_path / "nothing"))
    dock.show()
    wait_for(lambda: not dock.banner.isHidden())
    dock.segment.run.click()
    assert not controller.running
    assert "No remotesam engine" in messages[-1]


def test_engine_work_runs_in_another_thread_and_is_heard_in_this_one(profile, fake_engine, tmp_path):
    from remotesam_qgis.engine.protocol import Job

    job = Job("segment", "t.tif", str(tmp_path / "o.gpkg"))
    task = EngineTask("t", [str(fake_engine), *job.arguments()], settings.environment())
    heard, ended, worker = [], [], []
    task.engine_event.connect(lambda event: heard.append(QThread.currentThread()))
    task.ended.connect(ended.append)
    original = task.run

    def run():
        worker.append(threading.get_ident())
        return original()

    task.run = run
    QgsApplication.taskManager().addTask(task)
    wait_for(lambda: bool(ended))
    assert ended[0].status == "done"
    assert not worker or worker[0] != threading.get_ident()
    assert len(heard) >= 8


def test_the_options_page_checks_and_keeps(profile, fake_engine, qgis_new_project, tmp_path):
    page = OptionsPage()
    page.engine.setFilePath(str(fake_engine))
    page.start_check()
    wait_for(lambda: "is ready" in page.report.text())
    assert "0.0-fake" in page.report.text()
    page.models.setFilePath(str(tmp_path))
    page.apply()
    assert settings.environment()["REMOTESAM_MODELS"] == str(tmp_path)
    assert settings.engine().origin == "the options page"
    page.copy.click()
    assert page.copy.text() == "Copied"
    report = json.loads(QgsApplication.clipboard().text())
    assert report["engine"]["command"] == [str(fake_engine)]
    assert report["doctor"]["remotesam"] == "0.0-fake"
    page.engine.setFilePath(str(tmp_path / "nothing"))
    page.start_check()
    assert "Not ready" in page.report.text()
