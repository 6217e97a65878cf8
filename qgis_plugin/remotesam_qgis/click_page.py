"""The "Clicks and edits" page of the panel: widgets only."""

from __future__ import annotations

from qgis.core import QgsMapLayerProxyModel
from qgis.gui import QgsCollapsibleGroupBox, QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from . import settings
from .engine.info import EngineInfo
from .settings import tr

KEYS = (
    ("Left click", "part of the object"),
    ("Right click / Shift + click", "not part of it"),
    ("Drag", "box round the object"),
    ("N", "next size of candidate"),
    ("Backspace", "take the last click back"),
    ("Enter", "accept"),
    ("Esc", "start over"),
)


class ClickPage(QWidget):
    """Raster, model, target layer; start, accept, and the edits of segments."""

    toggled = pyqtSignal(bool)
    accept_requested = pyqtSignal()
    cut_requested = pyqtSignal()
    merge_requested = pyqtSignal()
    delete_requested = pyqtSignal()
    select_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.addLayout(self._build_form())
        layout.addLayout(self._build_buttons())
        self.status = QLabel("")
        self.status.setWordWrap(True)
        layout.addWidget(self.status)
        layout.addWidget(self._build_edits())
        layout.addWidget(_build_keys())
        layout.addStretch(1)
        self.show_candidate(None)

    def _build_form(self) -> QFormLayout:
        self.raster = QgsMapLayerComboBox()
        self.raster.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.target = QgsMapLayerComboBox()
        self.target.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.target.setAllowEmptyLayer(True)
        self.target.setToolTip(tr("Accepted segments go here; empty = a new layer."))
        for box in (self.raster, self.target):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.model = QComboBox()
        self.model.setEditable(True)
        self.clear_of_others = QCheckBox(tr("Leave out what existing segments cover"))
        self.clear_of_others.setChecked(True)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(tr("Raster"), self.raster)
        form.addRow(tr("Model"), self.model)
        form.addRow(tr("Add to"), self.target)
        form.addRow(self.clear_of_others)
        return form

    def _build_buttons(self) -> QHBoxLayout:
        self.start = QPushButton(tr("Click on the map"))
        self.start.setCheckable(True)
        self.start.toggled.connect(self.toggled)
        self.accept = QPushButton(tr("Accept"))
        self.accept.clicked.connect(self.accept_requested)
        row = QHBoxLayout()
        row.addWidget(self.start, 2)
        row.addWidget(self.accept, 1)
        return row

    def _build_edits(self) -> QWidget:
        box = QgsCollapsibleGroupBox(tr("Edit segments"))
        hint = QLabel(tr("On the layer above; every step can be undone with Ctrl+Z."))
        hint.setWordWrap(True)
        hint.setStyleSheet("color: gray")
        self.select = QPushButton(tr("Select"))
        self.select.clicked.connect(self.select_requested)
        self.merge = QPushButton(tr("Merge selected"))
        self.merge.clicked.connect(self.merge_requested)
        self.cut = QPushButton(tr("Split by click"))
        self.cut.setToolTip(tr("Cut the clicked polygon out of the selected segments."))
        self.cut.clicked.connect(self.cut_requested)
        self.delete = QPushButton(tr("Delete selected"))
        self.delete.clicked.connect(self.delete_requested)
        grid = QGridLayout()
        for number, button in enumerate((self.select, self.merge, self.cut, self.delete)):
            grid.addWidget(button, number // 2, number % 2)
        column = QVBoxLayout(box)
        column.addWidget(hint)
        column.addLayout(grid)
        return box

    def show_models(self, info: EngineInfo) -> None:
        """Offer an engine's models."""
        wanted = self.model.currentText() or settings.get(settings.MODEL) or info.default_model
        self.model.clear()
        self.model.addItems(info.models)
        self.model.setCurrentText(wanted)

    def show_candidate(self, text: str | None) -> None:
        """Say what the preview is; None = there is none."""
        self.accept.setEnabled(text is not None)
        self.cut.setEnabled(text is not None)
        if text is not None:
            self.status.setText(text)


def _build_keys() -> QWidget:
    box = QgsCollapsibleGroupBox(tr("Mouse and keys"))
    form = QFormLayout(box)
    form.setVerticalSpacing(2)
    for keys, meaning in KEYS:
        form.addRow(f"<b>{tr(keys)}</b>", QLabel(tr(meaning)))
    return box
