"""The Advanced form, made from the engine's own schema: a new setting appears without a new plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qgis.gui import QgsDoubleSpinBox, QgsSpinBox
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from .area_box import LARGEST, AreaBox
from .engine.settings_schema import Setting, overview_level, read_settings
from .layers import PixelArea
from .settings import tr

OWN_WIDGETS = ("model", "aoi")
"""Settings the panel asks for elsewhere."""


class SettingsForm(QWidget):
    """One row per setting, under the headings of their groups."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Make an empty form; `show_schema` fills it."""
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._body: QWidget | None = None
        self._widgets: dict[str, tuple[Setting, QWidget]] = {}
        self._pixel: PixelArea | None = None

    def show_schema(self, schema: Mapping[str, Any]) -> None:
        """Build the rows for a schema; values that were changed stay where the setting still exists."""
        kept = self.changed() if self._widgets else {}
        if self._body is not None:
            self._layout.removeWidget(self._body)
            self._body.deleteLater()
        self._body = QWidget(self)
        self._layout.addWidget(self._body)
        self._widgets = {}
        form = QFormLayout(self._body)
        form.setContentsMargins(0, 0, 0, 0)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        group = None
        for setting in read_settings(schema, without=OWN_WIDGETS):
            if setting.group != group:
                group = setting.group
                heading = QLabel(f"<b>{tr(group)}</b>")
                heading.setContentsMargins(0, 8, 0, 0)
                form.addRow(heading)
            self._add_row(form, setting)
        self.set_values(kept)
        self.show_pixel(self._pixel)

    def names(self) -> list[str]:
        """Names of the settings on the form."""
        return list(self._widgets)

    def changed(self) -> dict[str, Any]:
        """The settings whose value differs from the engine's default, ready for its command line."""
        values = {name: _read(setting, widget) for name, (setting, widget) in self._widgets.items()}
        return {
            name: value
            for name, value in values.items()
            if value is not None and value != _default(self._widgets[name][0])
        }

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Set some values; names the form does not have are left out, others keep theirs."""
        for name, value in values.items():
            if name in self._widgets:
                setting, widget = self._widgets[name]
                _write(setting, widget, value)

    def reset(self) -> None:
        """Put every setting back to the engine's default."""
        for setting, widget in self._widgets.values():
            _write(setting, widget, _default(setting))

    def show_pixel(self, pixel: PixelArea | None) -> None:
        """Tell the areas of the form what a pixel of the raster covers.

        Args:
            pixel: A pixel at full resolution; None = not known.
        """
        self._pixel = pixel
        for box in self._areas():
            box.show_pixel(None if pixel is None else pixel.at_overview(self._overview()))

    def conversions(self) -> list[str]:
        """A line for every area that was not typed in pixels."""
        return [text for text in (box.conversion() for box in self._areas()) if text]

    def _areas(self) -> list[AreaBox]:
        return [widget for _, widget in self._widgets.values() if isinstance(widget, AreaBox)]

    def _overview(self) -> int | None:
        setting, widget = self._widgets.get("overview", (None, None))
        return overview_level(_read(setting, widget)) if setting is not None else None

    def _add_row(self, form: QFormLayout, setting: Setting) -> None:
        label = QLabel(setting.title)
        widget = _MAKERS[setting.kind](setting)
        tip = f"<p>{setting.help}</p><p><code>--{setting.name.replace('_', '-')}</code></p>"
        for part in (label, widget):
            part.setToolTip(tip)
        widget.setObjectName(setting.name)
        if setting.name == "overview" and isinstance(widget, QLineEdit):
            widget.textChanged.connect(lambda _: self.show_pixel(self._pixel))
        if setting.kind == "bool":
            widget.setText(setting.title)
            form.addRow(widget)
        else:
            form.addRow(label, widget)
        self._widgets[setting.name] = (setting, widget)


def _make_bool(setting: Setting) -> QCheckBox:
    box = QCheckBox()
    box.setChecked(bool(setting.default))
    return box


def _make_choice(setting: Setting) -> QComboBox:
    box = QComboBox()
    box.addItems(list(setting.choices))
    box.setCurrentText(setting.default_text)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return box


def _make_integer(setting: Setting) -> QgsSpinBox:
    box = QgsSpinBox()
    low, high = setting.minimum, setting.maximum
    box.setRange(-LARGEST if low is None else int(low), LARGEST if high is None else int(high))
    box.setValue(int(setting.default or 0))
    box.setClearValue(int(setting.default or 0))
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return box


def _make_number(setting: Setting) -> QgsDoubleSpinBox:
    box = QgsDoubleSpinBox()
    low, high = setting.minimum, setting.maximum
    unit_range = low is not None and high is not None and high - low <= 1
    box.setDecimals(3)
    box.setSingleStep(0.01 if unit_range else 0.5)
    box.setRange(-1e9 if low is None else low, 1e9 if high is None else high)
    box.setValue(float(setting.default or 0))
    box.setClearValue(float(setting.default or 0))
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return box


def _make_text(setting: Setting) -> QWidget:
    if setting.choices:
        box = QComboBox()
        box.setEditable(True)
        box.addItems(list(setting.choices))
        box.setCurrentText(setting.default_text)
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        return box
    line = QLineEdit(setting.default_text)
    line.setPlaceholderText(setting.hint or tr("automatic"))
    return line


_MAKERS: Mapping[str, Callable[[Setting], QWidget]] = {
    "area": AreaBox,
    "bool": _make_bool,
    "choice": _make_choice,
    "integer": _make_integer,
    "number": _make_number,
    "text": _make_text,
}


def _default(setting: Setting) -> Any:
    if setting.kind in ("choice", "text"):
        return setting.default_text or None
    return setting.default


def _read(setting: Setting, widget: QWidget) -> Any:
    if setting.kind == "area":
        return widget.pixels()
    if setting.kind == "bool":
        return widget.isChecked()
    if setting.kind == "integer":
        return widget.value()
    if setting.kind == "number":
        return round(widget.value(), 6)
    text = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
    return text.strip() or None


def _write(setting: Setting, widget: QWidget, value: Any) -> None:
    if setting.kind == "area":
        widget.set_pixels(int(value or 0))
    elif setting.kind == "bool":
        widget.setChecked(bool(value))
    elif setting.kind == "integer":
        widget.setValue(int(value or 0))
    elif setting.kind == "number":
        widget.setValue(float(value or 0))
    elif isinstance(widget, QComboBox):
        widget.setCurrentText("" if value is None else str(value))
    else:
        widget.setText("" if value is None else str(value))
