"""The provider `remotesam` of the Processing framework."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtGui import QIcon

from .evaluate import EvaluateAlgorithm
from .panorama import PanoramaAlgorithm
from .plan import PlanAlgorithm
from .segment import SegmentAlgorithm

ICON = str(Path(__file__).parent.parent / "icons" / "remotesam.svg")


class PartialResults(QObject):
    """Carries the path of a partial result from an algorithm's thread to the main window."""

    found = pyqtSignal(str)


class RemotesamProvider(QgsProcessingProvider):
    """Offers the algorithms; works without a graphical interface."""

    def __init__(self) -> None:
        """Make the provider."""
        super().__init__()
        self.partial = PartialResults()

    def id(self) -> str:
        """Prefix of the algorithms: `remotesam:segment`."""
        return "remotesam"

    def name(self) -> str:
        """Name in the toolbox."""
        return "remotesam"

    def longName(self) -> str:
        """Name in the settings."""
        return self.name()

    def icon(self) -> QIcon:
        """Icon in the toolbox."""
        return QIcon(ICON)

    def loadAlgorithms(self) -> None:
        """Add the algorithms; called by QGIS."""
        for algorithm in (SegmentAlgorithm, PanoramaAlgorithm, EvaluateAlgorithm, PlanAlgorithm):
            self.addAlgorithm(algorithm())

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """The engine writes GeoPackages."""
        return ["gpkg"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """The engine writes GeoPackages."""
        return "gpkg"

    def supportsNonFileBasedOutput(self) -> bool:
        """The engine writes files, never databases or memory layers."""
        return False
