"""The map tool: left click = part of the object, right click = not part of it, drag = box round it."""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsPointXY, QgsRectangle, QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand, QgsVertexMarker
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QCursor

DRAG_PIXELS = 6
POSITIVE, NEGATIVE, OUTLINE = QColor("#1fa35c"), QColor("#d8323c"), QColor("#ffb020")


class PromptTool(QgsMapTool):
    """Turns mouse and keys into signals; coordinates are those of the canvas."""

    clicked = pyqtSignal(QgsPointXY, bool)
    boxed = pyqtSignal(QgsRectangle)
    undone = pyqtSignal()
    accepted = pyqtSignal()
    cleared = pyqtSignal()
    next_wanted = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas) -> None:
        """Make the tool for a canvas."""
        super().__init__(canvas)
        self.setCursor(QCursor(Qt.CursorShape.CrossCursor))
        self._pressed_at = None
        self._band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setColor(OUTLINE)
        self._band.setFillColor(QColor(255, 176, 32, 30))
        self._band.setWidth(2)

    def canvasPressEvent(self, event) -> None:
        """Remember where a drag starts."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed_at = (event.pixelPoint(), event.mapPoint())

    def canvasMoveEvent(self, event) -> None:
        """Draw the box while it is dragged."""
        if self._pressed_at is not None and self._is_drag(event):
            rectangle = QgsRectangle(self._pressed_at[1], event.mapPoint())
            self._band.setToGeometry(QgsGeometry.fromRect(rectangle), None)

    def canvasReleaseEvent(self, event) -> None:
        """Say what was clicked or boxed."""
        if event.button() == Qt.MouseButton.RightButton:
            self.clicked.emit(event.mapPoint(), False)
            return
        if event.button() != Qt.MouseButton.LeftButton or self._pressed_at is None:
            return
        start, dragged = self._pressed_at[1], self._is_drag(event)
        self._pressed_at = None
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if dragged:
            self.boxed.emit(QgsRectangle(start, event.mapPoint()))
        else:
            negative = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.clicked.emit(event.mapPoint(), not negative)

    def keyPressEvent(self, event) -> None:
        """Enter accepts, Backspace takes a click back, N shows the next candidate, Esc starts over."""
        signals = {
            Qt.Key.Key_Return: self.accepted,
            Qt.Key.Key_Enter: self.accepted,
            Qt.Key.Key_Backspace: self.undone,
            Qt.Key.Key_Delete: self.undone,
            Qt.Key.Key_N: self.next_wanted,
            Qt.Key.Key_Escape: self.cleared,
        }
        signal = signals.get(event.key())
        if signal is None:
            event.ignore()
            return
        signal.emit()
        event.accept()

    def deactivate(self) -> None:
        """Another tool takes over."""
        self._pressed_at = None
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        super().deactivate()

    def _is_drag(self, event) -> bool:
        moved = event.pixelPoint() - self._pressed_at[0]
        return moved.manhattanLength() > DRAG_PIXELS


class PromptOverlay:
    """Markers, box and preview polygon on the canvas; coordinates are those of the canvas."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        """Make an empty overlay."""
        self._canvas = canvas
        self._markers: list[QgsVertexMarker] = []
        self._preview = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._preview.setFillColor(QColor(255, 176, 32, 90))
        self._preview.setStrokeColor(QColor("#ff7a1a"))
        self._preview.setWidth(2)
        self._box = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._box.setFillColor(QColor(0, 0, 0, 0))
        self._box.setStrokeColor(OUTLINE)
        self._box.setLineStyle(Qt.PenStyle.DashLine)
        self._box.setWidth(2)

    def show_prompts(self, clicks: list[tuple[QgsPointXY, bool]], box: QgsRectangle | None) -> None:
        """Draw clicks (point, positive) and a box, in place of those drawn before."""
        for marker in self._markers:
            self._canvas.scene().removeItem(marker)
        self._markers = [self._marker(point, positive) for point, positive in clicks]
        self._box.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if box is not None:
            self._box.setToGeometry(QgsGeometry.fromRect(box), None)

    def show_preview(self, geometry: QgsGeometry | None) -> None:
        """Draw the candidate; None removes it."""
        self._preview.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        if geometry is not None:
            self._preview.setToGeometry(geometry, None)

    def remove(self) -> None:
        """Take everything off the canvas."""
        self.show_prompts([], None)
        for band in (self._preview, self._box):
            self._canvas.scene().removeItem(band)

    def _marker(self, point: QgsPointXY, positive: bool) -> QgsVertexMarker:
        marker = QgsVertexMarker(self._canvas)
        marker.setCenter(point)
        marker.setIconType(
            QgsVertexMarker.IconType.ICON_CIRCLE if positive else QgsVertexMarker.IconType.ICON_X
        )
        marker.setColor(POSITIVE if positive else NEGATIVE)
        marker.setFillColor(POSITIVE if positive else NEGATIVE)
        marker.setIconSize(11)
        marker.setPenWidth(3)
        return marker
