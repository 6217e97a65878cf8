"""Clicks on the map to polygons, through a resident engine."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QByteArray, QObject, pyqtSignal

from . import edits, settings
from .click_page import ClickPage
from .engine.locate import EngineError, refuse_other_protocol
from .engine.prompts import Prompts
from .engine.session import Session
from .layers import SourceError, source_of
from .maptool import PromptOverlay, PromptTool
from .settings import tr
from .styling import apply_style


class ClickController(QObject):
    """Owns the map tool, the prompts and the engine session."""

    message = pyqtSignal(str, int)
    layer_added = pyqtSignal(object)
    _replied = pyqtSignal(dict)
    _logged = pyqtSignal(str)
    _session_ended = pyqtSignal(int)

    def __init__(self, page: ClickPage, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        """Attach to a page and a canvas.

        Args:
            page: The page to serve.
            canvas: The map canvas to click on.
            parent: Owner.
        """
        super().__init__(parent)
        self._page, self._canvas = page, canvas
        self.tool = PromptTool(canvas)
        self._overlay = PromptOverlay(canvas)
        self._prompts = Prompts()
        self._session: Session | None = None
        self._opened: tuple[str, str] | None = None
        self._raster: QgsRasterLayer | None = None
        self._awaited = 0
        self._candidates: list[tuple[QgsGeometry, float]] = []
        self._shown = 0
        self._last_log = ""
        self._folder = tempfile.TemporaryDirectory(prefix="remotesam_")
        self._connect()

    def _connect(self) -> None:
        page, tool = self._page, self.tool
        page.toggled.connect(self._toggle)
        page.accept_requested.connect(self.accept)
        page.cut_requested.connect(self.cut)
        page.merge_requested.connect(lambda: self._edit(edits.merge_selected))
        page.delete_requested.connect(lambda: self._edit(edits.delete_selected))
        tool.clicked.connect(self._click)
        tool.boxed.connect(self._box)
        tool.undone.connect(self._undo)
        tool.accepted.connect(self.accept)
        tool.cleared.connect(self.clear)
        tool.next_wanted.connect(self._next)
        tool.deactivated.connect(lambda: page.start.setChecked(False))
        self._canvas.destinationCrsChanged.connect(self._redraw)
        self._replied.connect(self._take)
        self._logged.connect(self._keep_log)
        self._session_ended.connect(self._ended)

    def close(self) -> None:
        """Stop the engine and leave the canvas as it was; called when the plugin is unloaded."""
        self._close_session()
        with contextlib.suppress(TypeError):  # PyQt's way to say "was not connected"
            self._canvas.destinationCrsChanged.disconnect(self._redraw)
        if self._canvas.mapTool() is self.tool:
            self._canvas.unsetMapTool(self.tool)
        self._overlay.remove()
        self._folder.cleanup()

    def clear(self) -> None:
        """Forget the clicks and the preview."""
        self._prompts.clear()
        self._awaited = 0
        self._candidates = []
        self._redraw()
        self._page.show_candidate(None)
        self._page.status.setText(tr("Click on an object.") if self._page.start.isChecked() else "")

    def accept(self) -> None:
        """Add the preview to the target layer."""
        if not self._candidates or self._raster is None:
            return
        layer = self._page.target.currentLayer() or self._new_target()
        geometry, score = self._candidates[self._shown]
        values = {
            "score": score,
            "model": self._page.model.currentText(),
            "source": self._raster.name(),
            "area": None,
        }
        try:
            geometry = self._in_layer(geometry, layer)
            edits.add_segment(layer, geometry, values, self._page.clear_of_others.isChecked())
        except (edits.EditError, QgsCsException) as error:
            self.message.emit(str(error), Qgis.MessageLevel.Warning)
            return
        self.clear()

    def cut(self) -> None:
        """Split the selected segments of the target layer along the preview."""
        if self._candidates:
            geometry = self._candidates[self._shown][0]
            if self._edit(lambda layer: edits.cut_out(layer, self._in_layer(geometry, layer))):
                self.clear()

    def _toggle(self, on: bool) -> None:
        if on:
            self._canvas.setMapTool(self.tool)
            self._canvas.setFocus()
            self.clear()
            self._open()
        else:
            if self._canvas.mapTool() is self.tool:
                self._canvas.unsetMapTool(self.tool)
            self.clear()

    def _open(self) -> bool:
        layer = self._page.raster.currentLayer()
        if not isinstance(layer, QgsRasterLayer):
            self._refuse(tr("Load a raster first."))
            return False
        try:
            model = self._page.model.currentText().strip() or settings.cached_info().default_model
            wanted = (source_of(layer, Path(self._folder.name)), model)
            if self._session is None:
                self._start_session()
            if self._opened != wanted and self._session is not None:
                self._session.request("open", raster=wanted[0], model=wanted[1])
                self._opened = wanted
                self._page.status.setText(tr("Loading the model…"))
        except (SourceError, EngineError) as error:
            self._refuse(str(error))
            return False
        self._raster = layer
        return True

    def _refuse(self, text: str) -> None:
        self._page.start.setChecked(False)
        self.message.emit(text, Qgis.MessageLevel.Critical)

    def _start_session(self) -> None:
        command = [*settings.engine().command, "serve"]
        self._opened = None
        self._session = Session(
            command,
            settings.environment(),
            on_reply=self._replied.emit,
            on_log=self._logged.emit,
            on_end=self._session_ended.emit,
        )

    def _close_session(self) -> None:
        if self._session is not None:
            session, self._session, self._opened = self._session, None, None
            session.close(wait=False)

    def _click(self, point: QgsPointXY, positive: bool) -> None:
        if self._open():
            place = self._to_raster().transform(point)
            self._prompts.add_click(place.x(), place.y(), positive)
            self._predict()

    def _box(self, box: QgsRectangle) -> None:
        if self._open():
            placed = self._to_raster().transformBoundingBox(box)
            bounds = (placed.xMinimum(), placed.yMinimum(), placed.xMaximum(), placed.yMaximum())
            self._prompts.add_box(bounds)
            self._predict()

    def _undo(self) -> None:
        self._prompts.undo()
        if self._prompts:
            self._predict()
        else:
            self.clear()

    def _next(self) -> None:
        if self._candidates:
            self._shown = (self._shown + 1) % len(self._candidates)
            self._show_candidate()

    def _predict(self) -> None:
        self._redraw()
        if not self._prompts.usable or self._session is None:
            self._candidates = []
            self._page.show_candidate(None)
            self._redraw()
            self._page.status.setText(tr("Add a click on the object itself."))
            return
        try:
            self._awaited = self._session.request("predict", **self._prompts.request())
            self._page.status.setText(tr("Looking…"))
        except EngineError as error:
            self._close_session()
            self.message.emit(str(error), Qgis.MessageLevel.Critical)

    def _take(self, reply: dict[str, Any]) -> None:
        try:
            if reply["event"] == "start":
                refuse_other_protocol(reply.get("protocol"), str(reply.get("version", "?")))
                return
        except EngineError as error:
            self._close_session()
            self._refuse(str(error))
            return
        if not reply.get("ok", True):
            self._page.status.setText(str(reply.get("message", "")))
            if reply.get("cmd") == "open":
                self._opened = None
            return
        if reply.get("cmd") == "open" and not self._prompts:
            self._page.status.setText(tr("Ready. Click on an object."))
        if reply.get("id") == self._awaited and "candidates" in reply:
            self._candidates = [
                (_geometry(candidate["wkb"]), float(candidate.get("score") or 0))
                for candidate in reply["candidates"]
            ]
            self._shown = 0
            self._show_candidate()

    def _show_candidate(self) -> None:
        self._redraw()
        if not self._candidates:
            self._page.show_candidate(None)
            self._page.status.setText(tr("Nothing found there; add a click."))
            return
        score = self._candidates[self._shown][1]
        text = tr("Score {score:.2f}. Enter accepts, N shows another size ({number}/{count}).")
        self._page.show_candidate(
            text.format(score=score, number=self._shown + 1, count=len(self._candidates))
        )

    def _redraw(self) -> None:
        if self._raster is None:
            return
        back = self._to_raster()
        reverse = Qgis.TransformDirection.Reverse
        clicks = [
            (back.transform(QgsPointXY(click.x, click.y), reverse), click.positive)
            for click in self._prompts.clicks
        ]
        box = self._prompts.box
        drawn_box = None if box is None else back.transformBoundingBox(QgsRectangle(*box), reverse)
        self._overlay.show_prompts(clicks, drawn_box)
        preview = None
        if self._candidates:
            preview = QgsGeometry(self._candidates[self._shown][0])
            preview.transform(back, reverse)
        self._overlay.show_preview(preview)

    def _to_raster(self) -> QgsCoordinateTransform:
        canvas_crs = self._canvas.mapSettings().destinationCrs()
        raster_crs = self._raster.crs() if self._raster is not None else canvas_crs
        return QgsCoordinateTransform(canvas_crs, raster_crs, QgsProject.instance())

    def _in_layer(self, geometry: QgsGeometry, layer: QgsVectorLayer) -> QgsGeometry:
        moved = QgsGeometry(geometry)
        if self._raster is not None:
            moved.transform(QgsCoordinateTransform(self._raster.crs(), layer.crs(), QgsProject.instance()))
        return moved

    def _new_target(self) -> QgsVectorLayer:
        layer = edits.new_layer(tr("Clicked segments"), self._raster.crs())
        apply_style(layer, "random")
        QgsProject.instance().addMapLayer(layer)
        self._page.target.setLayer(layer)
        self.layer_added.emit(layer)
        return layer

    def _edit(self, edit) -> bool:
        layer = self._page.target.currentLayer()
        if layer is None:
            self.message.emit(tr("Choose the layer of segments first."), Qgis.MessageLevel.Warning)
            return False
        try:
            edit(layer)
        except (edits.EditError, QgsCsException) as error:
            self.message.emit(str(error), Qgis.MessageLevel.Warning)
            return False
        return True

    def _keep_log(self, line: str) -> None:
        self._last_log = line or self._last_log

    def _ended(self, code: int) -> None:
        if self._session is None or self._session.alive:
            return
        self._close_session()
        self._page.start.setChecked(False)
        said = f" {self._last_log}" if self._last_log else ""
        text = tr("The click engine stopped (exit code {}).").format(code) + said
        self.message.emit(text, Qgis.MessageLevel.Critical)


def _geometry(wkb_hex: str) -> QgsGeometry:
    geometry = QgsGeometry()
    geometry.fromWkb(QByteArray.fromHex(wkb_hex.encode()))
    return geometry
