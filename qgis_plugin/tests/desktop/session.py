"""Runs inside a QGIS desktop (`qgis --code session.py`): uses the plugin as a person would, and reports.

Reads its orders from the JSON file named by REMOTESAM_DESKTOP; writes `report.json` and pictures beside it.
"""

import faulthandler
import json
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
)
from qgis.PyQt.QtCore import QCoreApplication, Qt, QTimer
from qgis.PyQt.QtGui import QKeyEvent
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface, loadPlugin, plugins, startPlugin, unloadPlugin

ORDERS_FILE = Path(os.environ["REMOTESAM_DESKTOP"])
ORDERS = json.loads(ORDERS_FILE.read_text(encoding="utf-8"))
FOLDER = ORDERS_FILE.parent
REPORT = {"messages": []}


def main():
    with (FOLDER / "hang.txt").open("w", encoding="utf-8") as trace:
        faulthandler.dump_traceback_later(ORDERS["limit"], exit=True, file=trace)
        try_scenario()
        faulthandler.cancel_dump_traceback_later()
    leave()


def try_scenario():
    try:
        scenario()
        REPORT["finished"] = True
    except Exception:  # noqa: BLE001 - whatever it is, the test outside must see it
        REPORT["error"] = traceback.format_exc()
    (FOLDER / "report.json").write_text(json.dumps(REPORT, indent=1), encoding="utf-8")


def scenario():
    iface.mainWindow().resize(1500, 900)
    for name in ("Browser", "Browser2"):
        browser = iface.mainWindow().findChild(QDockWidget, name)
        if browser is not None:
            browser.hide()
    plugin = install()
    canvas, dock = iface.mapCanvas(), plugin.dock
    layer = QgsRasterLayer(ORDERS["raster"], Path(ORDERS["raster"]).stem)
    QgsProject.instance().addMapLayer(layer)
    wait(lambda: False, 0.5, must=False)  # the first layer sets the project's CRS, a moment later
    project_crs = ORDERS.get("project_crs") or layer.crs().authid()
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem(project_crs))
    REPORT["project_crs"] = canvas.mapSettings().destinationCrs().authid()
    show(canvas, layer)
    dock.show()
    iface.mainWindow().resizeDocks([dock], [430], Qt.Orientation.Horizontal)
    wait(dock.engine_label.text, 90)
    REPORT["engine"] = dock.engine_label.text()
    page = dock.segment
    page.raster.setLayer(layer)
    page.model.setCurrentText(ORDERS["model"])
    page.form.set_values(ORDERS["settings"])
    page.output.setFilePath(str(FOLDER / "segments.gpkg"))
    if ORDERS.get("die"):
        die_while_running(plugin, page)
    picture("panel")
    page.advanced.setCollapsed(False)
    picture("advanced")
    page.advanced.setCollapsed(True)
    run_and_cancel(plugin, page)
    run_to_the_end(plugin, page)
    styles(plugin, page)
    clicks(plugin, canvas, layer)
    kill_the_engine(plugin, page)
    REPORT["reloaded"] = bool(unloadPlugin("remotesam_qgis")) and bool(loadPlugin("remotesam_qgis"))
    startPlugin("remotesam_qgis")


def install():
    """From the zip, as the plugin manager does it."""
    import pyplugin_installer

    QgsSettings().setValue("remotesam/engine_path", ORDERS["engine"])
    pyplugin_installer.instance().installFromZipFile(ORDERS["zip"])
    wait(lambda: "remotesam_qgis" in plugins, 30)
    plugin = plugins["remotesam_qgis"]
    REPORT["installed"] = plugin.dock is not None
    for controller in (plugin.runs, plugin.clicks):
        controller.message.connect(lambda text, level: REPORT["messages"].append(text))
    return plugin


def run_and_cancel(plugin, page):
    page.run.click()
    pause = wait(
        lambda: page.bar.value() >= ORDERS["cancel_at"] and page.bar.maximum() > 1 and arriving(), 120
    )
    pause = pause.or_longer(wait(lambda: False, 3, must=False))
    REPORT["live_features"] = arriving()
    picture("running")
    page.cancel.click()
    note_pause(pause.or_longer(wait(lambda: not plugin.runs.running, 120)))
    REPORT["status_after_cancel"] = page.status.text()
    REPORT["partial_layers"] = [
        [layer.name(), layer.featureCount()]
        for layer in QgsProject.instance().mapLayers().values()
        if "(partial)" in layer.name()
    ]
    picture("cancelled")


def run_to_the_end(plugin, page):
    first = []
    page.run.click()

    def note(event):
        if event["event"] == "tile" and not first:
            first.append(event["done"])

    plugin.runs._task.engine_event.connect(note)
    note_pause(wait(lambda: not plugin.runs.running, 500))
    REPORT["first_tile_of_second_run"] = first
    REPORT["status_after_run"] = page.status.text()
    (layer,) = QgsProject.instance().mapLayersByName("segments") or [None]
    REPORT["features"] = layer.featureCount() if layer else None
    REPORT["renderer"] = layer.renderer().type() if layer else None


def styles(plugin, page):
    plugin.iface.messageBar().clearWidgets()
    for style in ("score", "pass", "random"):
        page.style.setCurrentIndex(page.style.findData(style))
        picture(f"result-{style}")


def clicks(plugin, canvas, layer):
    dock, page = plugin.dock, plugin.dock.click
    dock.pages.setCurrentIndex(1)
    page.raster.setLayer(layer)
    page.target.setLayer(None)
    page.model.setCurrentText(ORDERS["model"])
    for segments in QgsProject.instance().mapLayersByName("segments"):
        QgsProject.instance().layerTreeRoot().findLayer(segments.id()).setItemVisibilityChecked(False)
    window = QgsRectangle(*ORDERS["click_window"])
    to_canvas = QgsCoordinateTransform(
        layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance()
    )
    canvas.setExtent(to_canvas.transformBoundingBox(window))
    page.start.setChecked(True)
    wait(lambda: "Ready" in page.status.text(), 120)
    seconds = []
    for place in ORDERS["clicks"]:
        began = time.monotonic()
        plugin.clicks.tool.clicked.emit(to_canvas.transform(QgsPointXY(*place)), True)
        wait(lambda: page.status.text() != "Looking…", 60)
        seconds.append(time.monotonic() - began)
        if place == ORDERS["clicks"][-1]:
            picture("click")
        if page.accept.isEnabled():
            key(plugin.clicks.tool, Qt.Key.Key_Return)
        else:
            key(plugin.clicks.tool, Qt.Key.Key_Escape)
    REPORT["click_seconds"] = seconds
    target = page.target.currentLayer()
    REPORT["clicked"] = target.featureCount() if target else 0
    picture("clicked")
    if target:
        target.rollBack()
    page.start.setChecked(False)
    dock.pages.setCurrentIndex(0)


def kill_the_engine(plugin, page):
    """Somebody else kills the engine: QGIS must go on and say so."""
    os.kill(start_engine(plugin, page, "killed.gpkg"), 9)
    wait(lambda: not plugin.runs.running, 30)
    REPORT["after_kill"] = REPORT["messages"][-1]
    REPORT["usable_after_kill"] = page.run.isEnabled()


def die_while_running(plugin, page):
    """QGIS itself is killed, in the middle of a run: nothing of it can tell the engine."""
    REPORT["engine_pid"] = start_engine(plugin, page, "orphan.gpkg")
    wait(lambda: page.bar.value() > 0, 120)
    (FOLDER / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    os.kill(os.getpid(), 9)


def start_engine(plugin, page, output):
    """Press Run and wait for the process id that the engine tells."""
    page.output.setFilePath(str(FOLDER / output))
    started = []
    page.run.click()
    plugin.runs._task.engine_event.connect(
        lambda event: started.append(event["pid"]) if event["event"] == "start" else None
    )
    wait(lambda: bool(started), 120)
    return started[0]


def arriving():
    layers = QgsProject.instance().mapLayersByName("Arriving…")
    return layers[0].featureCount() if layers else 0


def key(tool, code):
    tool.keyPressEvent(QKeyEvent(QKeyEvent.Type.KeyPress, code, Qt.KeyboardModifier.NoModifier))


def show(canvas, layer):
    to_canvas = QgsCoordinateTransform(
        layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance()
    )
    extent = to_canvas.transformBoundingBox(layer.extent())
    extent.scale(1.04)
    canvas.setExtent(extent)


@dataclass(frozen=True)
class Pause:
    """The longest time between two looks of the main thread at its events, in seconds.

    Attributes:
        processor: Spent by the main thread itself: what holds the interface, however busy the machine is.
        clock: On the wall, with everything that other processes took.
    """

    processor: float = 0.0
    clock: float = 0.0

    def or_longer(self, other):
        return Pause(max(self.processor, other.processor), max(self.clock, other.clock))


def note_pause(pause):
    longest = Pause(REPORT.get("longest_pause", 0.0), REPORT.get("longest_gap", 0.0)).or_longer(pause)
    REPORT["longest_pause"], REPORT["longest_gap"] = longest.processor, longest.clock


def wait(condition, seconds, must=True):
    """Let QGIS work until a condition holds; returns the longest `Pause`."""
    deadline, longest = time.monotonic() + seconds, Pause()
    spent, looked = time.thread_time(), time.monotonic()
    while not condition():
        if time.monotonic() > deadline:
            if must:
                raise TimeoutError(f"waited {seconds} s in vain; last messages: {REPORT['messages'][-3:]}")
            break
        QCoreApplication.processEvents()
        now_spent, now = time.thread_time(), time.monotonic()
        longest = longest.or_longer(Pause(now_spent - spent, now - looked))
        spent, looked = now_spent, now
        time.sleep(0.005)
    return longest


def picture(name):
    iface.mapCanvas().refresh()
    wait(lambda: False, 0.5, must=False)
    wait(lambda: not iface.mapCanvas().isDrawing(), 30)
    wait(lambda: False, 0.3, must=False)
    iface.mainWindow().grab().save(str(FOLDER / f"{name}.png"))


def leave():
    """`QApplication.exit()` aborts in a QGIS with a project; this is the way out."""
    QgsSettings().setValue("askToSaveMemoryLayers", False, QgsSettings.App)
    QgsProject.instance().clear()
    QgsProject.instance().setDirty(False)
    QgsApplication.taskManager().cancelAll()
    iface.actionExit().trigger()


QTimer.singleShot(1500, main)
