"""The "Whole raster" page of the panel: widgets only; it says what is wanted and shows what happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayerProxyModel, QgsProject, QgsRasterLayer
from qgis.gui import (
    QgsCollapsibleGroupBox,
    QgsExtentWidget,
    QgsFileWidget,
    QgsMapCanvas,
    QgsMapLayerComboBox,
)
from qgis.PyQt.QtCore import QElapsedTimer, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from . import settings
from .engine.info import EngineInfo
from .engine.protocol import stage_title
from .layers import SourceError, as_displayed, default_output, extent_in_layer, pixel_area
from .settings import tr
from .settings_form import SettingsForm
from .styling import STYLES, style_titles

LOG_LINES = 2000


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        layer_id: Raster layer of the project.
        output: GeoPackage to write.
        model: Model name or checkpoint path.
        extent: (west, south, east, north) in the layer's CRS, None = the whole layer.
        settings: Engine settings that differ from its defaults.
        style: Style name of the result.
        notes: How settings typed in other units were converted, for the log.
    """

    layer_id: str
    output: str
    model: str
    extent: tuple[float, float, float, float] | None
    settings: dict[str, Any]
    style: str
    notes: tuple[str, ...] = ()


class SegmentPage(QWidget):
    """Raster, extent, model, output, Run; everything else under Advanced."""

    run_requested = pyqtSignal(object)
    plan_requested = pyqtSignal(object)
    cancel_requested = pyqtSignal()
    problem = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas | None = None, parent: QWidget | None = None) -> None:
        """Build the page.

        Args:
            canvas: Map canvas for "use current extent" and drawing.
            parent: Owner.
        """
        super().__init__(parent)
        self._clock = QElapsedTimer()
        self._left: float | None = None
        self._device = ""
        self._ticker = QTimer(self)
        self._ticker.setInterval(1000)
        self._ticker.timeout.connect(self._show_time)
        self._suggested = ""
        self._build(canvas)
        self.raster.layerChanged.connect(self._raster_changed)
        self._raster_changed(self.raster.currentLayer())

    def _build(self, canvas: QgsMapCanvas | None) -> None:
        layout = QVBoxLayout(self)
        layout.addLayout(self._build_form(canvas))
        layout.addWidget(self._build_advanced())
        layout.addLayout(self._build_buttons())
        layout.addLayout(self._build_progress())
        layout.addWidget(self._build_log())
        layout.addStretch(1)

    def _build_form(self, canvas: QgsMapCanvas | None) -> QFormLayout:
        self.raster = QgsMapLayerComboBox()
        self.raster.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.raster.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.extent = QgsExtentWidget(None, QgsExtentWidget.WidgetStyle.CondensedStyle)
        self.extent.setNullValueAllowed(True, tr("Whole layer"))
        self._clear_extent()
        if canvas is not None:
            self.extent.setMapCanvas(canvas)
        self.model = QComboBox()
        self.model.setEditable(True)
        self.model.setToolTip(tr("A model of the engine, or the path of a SAM 2 checkpoint (.pt)."))
        self.output = QgsFileWidget()
        self.output.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.output.setFilter("GeoPackage (*.gpkg)")
        self.style = QComboBox()
        for name, title in style_titles().items():
            self.style.addItem(title, name)
        self.style.setCurrentIndex(max(0, self.style.findData(settings.get(settings.STYLE, STYLES[0]))))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for title, widget in (
            (tr("Raster"), self.raster),
            (tr("Extent"), self.extent),
            (tr("Model"), self.model),
            (tr("Output"), self.output),
            (tr("Show as"), self.style),
        ):
            form.addRow(title, widget)
        return form

    def _build_advanced(self) -> QWidget:
        self.advanced = QgsCollapsibleGroupBox(tr("Advanced"))
        self.advanced.setCollapsed(True)
        self.as_displayed = QCheckBox(tr("Bands and contrast as displayed"))
        self.as_displayed.setToolTip(
            tr("Show the model what QGIS shows: the bands and value range of the layer's own style.")
        )
        self.form = SettingsForm()
        reset = QToolButton()
        reset.setText(tr("Back to defaults"))
        reset.clicked.connect(self.form.reset)
        inner = QVBoxLayout(self.advanced)
        inner.addWidget(self.as_displayed)
        inner.addWidget(self.form)
        inner.addWidget(reset, 0, Qt.AlignmentFlag.AlignRight)
        return self.advanced

    def _build_buttons(self) -> QHBoxLayout:
        self.run = QPushButton(tr("Run"))
        self.run.setDefault(True)
        self.run.clicked.connect(lambda: self._send(self.run_requested))
        self.plan = QPushButton(tr("Estimate"))
        self.plan.setToolTip(tr("Say how many tiles there are and how long they may take, without running."))
        self.plan.clicked.connect(lambda: self._send(self.plan_requested))
        self.cancel = QPushButton(tr("Cancel"))
        self.cancel.setEnabled(False)
        self.cancel.setToolTip(
            tr("Stop after the tile in work. Finished tiles are kept; Run continues there.")
        )
        self.cancel.clicked.connect(self._cancel_clicked)
        row = QHBoxLayout()
        row.addWidget(self.run, 2)
        row.addWidget(self.plan, 1)
        row.addWidget(self.cancel, 1)
        return row

    def _build_progress(self) -> QVBoxLayout:
        self.bar = QProgressBar()
        self.bar.setRange(0, 100)
        self.bar.setValue(0)
        self.bar.hide()  # nothing to show before the first run
        self.status = QLabel(tr("Ready."))
        self.status.setWordWrap(True)
        self.time = QLabel("")
        self.time.setStyleSheet("color: gray")
        column = QVBoxLayout()
        column.addWidget(self.bar)
        column.addWidget(self.status)
        column.addWidget(self.time)
        return column

    def _build_log(self) -> QWidget:
        box = QgsCollapsibleGroupBox(tr("Log"))
        box.setCollapsed(True)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(LOG_LINES)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setMinimumHeight(120)
        QVBoxLayout(box).addWidget(self.log)
        return box

    def show_info(self, info: EngineInfo) -> None:
        """Offer an engine's models and settings."""
        wanted = self.model.currentText() or settings.get(settings.MODEL) or info.default_model
        self.model.clear()
        for name in info.models:
            self.model.addItem(name)
            if not info.is_present(name):
                index = self.model.count() - 1
                tip = tr("Fetched on first use.")
                self.model.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.model.setCurrentText(wanted)
        self.form.show_schema(info.schema)

    def request(self) -> Request:
        """What the widgets say.

        Raises:
            SourceError: Something is missing or cannot be handed to the engine.
        """
        layer = self.raster.currentLayer()
        if not isinstance(layer, QgsRasterLayer):
            raise SourceError(tr("Load a raster first."))
        output = self.output.filePath().strip()
        if not output:
            raise SourceError(tr("Name an output file."))
        if Path(output).suffix.lower() != ".gpkg":
            raise SourceError(tr("The output must be a GeoPackage (.gpkg), not “{}”.").format(output))
        extent = None
        if self.extent.isValid():
            extent = extent_in_layer(self.extent.outputExtent(), self.extent.outputCrs(), layer)
        changed = self.form.changed()
        if self.as_displayed.isChecked():
            changed = {**as_displayed(layer), **changed}
        model = self.model.currentText().strip() or settings.cached_info().default_model
        style, notes = self.style.currentData(), tuple(self.form.conversions())
        return Request(layer.id(), output, model, extent, changed, style, notes)

    def show_started(self) -> None:
        """A run has been started."""
        self._left, self._device = None, ""
        self._clock.start()
        self._ticker.start()
        self._set_running(True)
        self.bar.show()
        self.bar.setRange(0, 0)
        self.status.setText(tr("Starting the engine…"))
        self.time.setText("")

    def show_event(self, event: dict[str, Any]) -> None:
        """Show one event of the engine; unknown ones change nothing."""
        kind = event["event"]
        if kind == "stage":
            self.status.setText(stage_title(event) + "…")
            self.bar.setRange(0, 0)
        elif kind in ("tile", "step") and event.get("total"):
            self.bar.setRange(0, int(event["total"]))
            self.bar.setValue(int(event.get("done", 0)))
            left = event.get("eta_s")
            self._left = float(left) if left is not None else None
            if kind == "tile":
                text = tr("{done} / {total} tiles").format(**event)
                if event.get("committed") is not None:
                    text += tr(" · {} segments").format(f"{event['committed']:,}".replace(",", " "))
                self.status.setText(text)
        elif kind == "model":
            self._device = tr(" · {name} on {device}").format(**{"name": "?", "device": "?", **event})
        elif kind == "cluster":
            self._device = tr(" · {} workers").format(event.get("workers", "?"))
        elif kind == "warning":
            self.log.appendPlainText(tr("Warning: ") + str(event.get("message", "")))

    def show_ended(self, text: str, *, complete: bool) -> None:
        """A run has ended.

        Args:
            text: What to say about it.
            complete: True = suggest a new output name for the next run; a cancelled run keeps its name,
                because running it again continues it.
        """
        self._ticker.stop()
        self._set_running(False)
        if complete or self.bar.maximum() == 0:  # else how far it came: the next run goes on from there
            self.bar.setRange(0, 100)
            self.bar.setValue(100 if complete else 0)
        self.status.setText(text)
        self.time.setText(tr("Took {}").format(clock(self._clock.elapsed() / 1000)) + self._device)
        if complete and self.output.filePath() == self._suggested:
            self._raster_changed(self.raster.currentLayer())

    def _set_running(self, running: bool) -> None:
        for widget in (self.run, self.plan, self.raster, self.extent, self.model, self.output, self.advanced):
            widget.setEnabled(not running)
        self.cancel.setEnabled(running)

    def _cancel_clicked(self) -> None:
        self.cancel.setEnabled(False)
        self.status.setText(tr("Stopping; finished tiles are being saved…"))
        self.cancel_requested.emit()

    def _send(self, signal: Any) -> None:
        try:
            request = self.request()
        except SourceError as error:
            self.problem.emit(str(error))
            return
        settings.put(settings.STYLE, request.style)
        settings.put(settings.MODEL, request.model)
        signal.emit(request)

    def _raster_changed(self, layer: Any) -> None:
        if not isinstance(layer, QgsRasterLayer):
            self.form.show_pixel(None)
            return
        self.extent.setOutputCrs(layer.crs() if layer.crs().isValid() else QgsProject.instance().crs())
        self.extent.setOriginalExtent(layer.extent(), layer.crs())
        self._clear_extent()  # an extent drawn on the raster before says nothing about this one
        self.form.show_pixel(pixel_area(layer))
        if self.output.filePath() == self._suggested:
            self._suggested = default_output(layer)
            self.output.setFilePath(self._suggested)

    def _clear_extent(self) -> None:
        self.extent.clear()
        for line in self.extent.findChildren(QLineEdit):
            line.deselect()  # QGIS leaves the words for "nothing" selected

    def _show_time(self) -> None:
        text = tr("Elapsed {}").format(clock(self._clock.elapsed() / 1000))
        if self._left is not None:
            self._left = max(0.0, self._left - 1.0)
            text += tr(" · about {} left").format(clock(self._left))
        self.time.setText(text + self._device)


def clock(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
