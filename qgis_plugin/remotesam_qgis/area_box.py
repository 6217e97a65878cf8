"""An area that is typed in pixels or in the map units of the raster; the engine gets pixels."""

from __future__ import annotations

import math

from qgis.gui import QgsDoubleSpinBox
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from .engine.settings_schema import Setting
from .layers import PixelArea
from .settings import tr

LARGEST = 2**31 - 1
PIXELS = "px"


class AreaBox(QWidget):
    """A number, its unit, and what that is in the other unit."""

    def __init__(self, setting: Setting) -> None:
        """Build the widget for a setting whose value is a number of pixels."""
        super().__init__()
        self._setting = setting
        self._pixel: PixelArea | None = None
        self.number = QgsDoubleSpinBox()
        self.unit = QComboBox()
        self.unit.addItem(PIXELS)
        for box in (self.number, self.unit):
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._unit = PIXELS
        self._note = QLabel("")
        self._note.setStyleSheet("color: gray")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(0)
        grid.addWidget(self.number, 0, 0)
        grid.addWidget(self.unit, 0, 1)
        grid.addWidget(self._note, 1, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        self._set_limits()
        self.set_pixels(int(setting.default or 0))
        self.number.valueChanged.connect(self._show_note)
        self.unit.currentTextChanged.connect(self._change_unit)

    def pixels(self) -> int:
        """The area in pixels."""
        if self._in_pixels():
            return round(self.number.value())
        return self._pixel.pixels(self.number.value())

    def set_pixels(self, count: int) -> None:
        """Show a number of pixels."""
        self.unit.setCurrentText(PIXELS)
        self.number.setValue(count)

    def show_pixel(self, pixel: PixelArea | None) -> None:
        """Another raster: what is typed stays as it is, its unit as well where there is one.

        Args:
            pixel: What a pixel covers; None = not known, only pixels can be typed.
        """
        count, was_pixels = self.pixels(), self._in_pixels()
        self._pixel = pixel
        units = [PIXELS] if pixel is None else [PIXELS, pixel.unit]
        self.unit.blockSignals(True)
        self.unit.clear()
        self.unit.addItems(units)
        self.unit.setCurrentIndex(0 if was_pixels or pixel is None else 1)
        self.unit.blockSignals(False)
        self._unit = self.unit.currentText()
        typed = self.number.value()
        self._set_limits()
        self.number.setValue(count if self._in_pixels() else typed)
        self._show_note()

    def conversion(self) -> str:
        """How an area in map units was converted, for the log; empty when it was typed in pixels."""
        return "" if self._in_pixels() else conversion(self._setting.title, self.number.value(), self._pixel)

    def _in_pixels(self) -> bool:
        return self._pixel is None or self._unit == PIXELS

    def _change_unit(self, unit: str) -> None:
        count = self.pixels()
        self._unit = unit
        self._set_limits()
        self.number.setValue(count if self._in_pixels() else count * self._pixel.area)
        self._show_note()

    def _set_limits(self) -> None:
        scale = 1.0 if self._in_pixels() else self._pixel.area
        # Fine enough to tell a tenth of a pixel, and no finer.
        decimals = 0 if self._in_pixels() else min(6, max(0, 1 - math.floor(math.log10(scale))))
        low = self._setting.minimum or 0
        high = LARGEST if self._setting.maximum is None else self._setting.maximum
        self.number.setDecimals(decimals)
        self.number.setRange(low * scale, high * scale)
        self.number.setSingleStep(scale if decimals or scale >= 1 else 1.0)
        self.number.setClearValue(float(self._setting.default or 0) * scale)

    def _show_note(self) -> None:
        if self._pixel is None:
            self._note.setText("")
            return
        ground = f"≈ {readable(self.pixels() * self._pixel.ground)}"
        self._note.setText(ground if self._in_pixels() else f"= {self.pixels()} px {ground}")


def conversion(title: str, area: float, pixel: PixelArea) -> str:
    """One line: an area in map units, what it is in pixels, and why."""
    text = tr(
        "{title}: {area:.10g} {unit} = {count} px (a pixel at the raster's centre is {pixel:.6g} {unit})"
    )
    return text.format(title=title, area=area, unit=pixel.unit, count=pixel.pixels(area), pixel=pixel.area)


def readable(square_metres: float) -> str:
    """An area in m², ha or km², whichever reads best."""
    if square_metres < 10_000:
        return f"{square_metres:.3g} m²" if square_metres < 100 else f"{square_metres:.0f} m²"
    return f"{square_metres / 10_000:.3g} ha" if square_metres < 1e6 else f"{square_metres / 1e6:.4g} km²"
