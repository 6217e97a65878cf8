"""The preview: a layer that grows while the engine works."""

from __future__ import annotations

from qgis.core import QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, QTimer

from .layers import ResultGroup, open_segments
from .styling import apply_live_style

FIRST_MS = 300
RELOAD_MS = 2000
"""Often enough to feel live; a reload of 200 000 polygons takes under 30 ms, drawing them is asynchronous."""


class LiveLayer(QObject):
    """Shows the growing file of one run as soon as it holds something."""

    def __init__(self, path: str, name: str, group: ResultGroup, parent: QObject | None = None) -> None:
        """Start to watch.

        Args:
            path: GeoPackage that the engine appends to.
            name: Name of the layer.
            group: Where the layer goes.
            parent: Owner.
        """
        super().__init__(parent)
        self._path, self._name, self._group = path, name, group
        self._layer_id = ""
        self._dirty = True
        self._timer = QTimer(self)
        self._timer.setInterval(FIRST_MS)
        self._timer.timeout.connect(self.refresh)
        self._timer.start()

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer, while there is one in the project."""
        return QgsProject.instance().mapLayer(self._layer_id) if self._layer_id else None

    def note_growth(self) -> None:
        """Tell that the file has grown; the next tick of the timer shows it."""
        self._dirty = True

    def refresh(self) -> None:
        """Show what is in the file now."""
        if not self._dirty:
            return
        if not self._layer_id:
            opened = open_segments(self._path, self._name)
            if opened is None:
                return
            apply_live_style(opened)
            self._group.add(opened)
            self._layer_id = opened.id()
            self._timer.setInterval(RELOAD_MS)
        layer = self.layer
        if layer is None:  # the user removed it: respect that
            self._timer.stop()
            return
        self._dirty = False
        layer.dataProvider().reloadData()
        layer.updateExtents()
        layer.triggerRepaint()

    def stop(self, *, keep: bool) -> None:
        """Stop watching.

        Args:
            keep: True = leave the layer in the project (a partial result), False = remove it.
        """
        self._timer.stop()
        layer = self.layer
        if layer is not None and not keep:
            QgsProject.instance().removeMapLayer(layer.id())
            self._layer_id = ""
        elif layer is not None:
            self._dirty = True
            self.refresh()
