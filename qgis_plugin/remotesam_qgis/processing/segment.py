"""`remotesam:segment`: any raster to polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterExtent,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.protocol import Job
from ..layers import SourceError, extent_in_layer
from ..settings import tr
from .common import (
    WritesSegments,
    add_setting_parameters,
    changed_settings,
    default_model,
    raster_source,
)


class SegmentAlgorithm(WritesSegments):
    """Segment everything in a raster, tile by tile."""

    def createInstance(self) -> SegmentAlgorithm:
        """A fresh copy for a run."""
        return SegmentAlgorithm()

    def name(self) -> str:
        """Id in the provider."""
        return "segment"

    def displayName(self) -> str:
        """Name in the toolbox."""
        return tr("Segment raster")

    def shortHelpString(self) -> str:
        """Help in the dialog."""
        return tr(
            "Turns everything in a raster into clean, scored polygons with SAM 2. The raster may be of any "
            "size: it is segmented tile by tile, and segments are joined across tiles. The engine runs in "
            "its own process. Cancelling keeps the finished tiles; running again with the same output "
            "continues there."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", tr("Raster")))
        self.addParameter(
            QgsProcessingParameterExtent("EXTENT", tr("Extent (empty = everything)"), None, True)
        )
        model = QgsProcessingParameterString("MODEL", tr("Model or checkpoint"), default_model())
        model.setHelp(tr("Name of a model of the engine, or path of a SAM 2 checkpoint (.pt)."))
        self.addParameter(model)
        add_setting_parameters(self)
        self.add_outputs()

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        """Run the engine."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        layer, source = raster_source(self, parameters, context, Path(output).parent)
        changed = changed_settings(self, parameters, context, layer, feedback)
        device = str(changed.pop("device", "auto"))
        model = self.parameterAsString(parameters, "MODEL", context).strip() or default_model()
        job = Job("segment", source, output, model, device, self._extent(parameters, context, layer), changed)
        return self.finish(job, context, feedback)

    def _extent(self, parameters: dict[str, Any], context: Any, layer: Any) -> Any:
        rectangle = self.parameterAsExtent(parameters, "EXTENT", context)
        if rectangle.isNull() or rectangle.isEmpty():
            return None
        crs = self.parameterAsExtentCrs(parameters, "EXTENT", context)
        try:
            return extent_in_layer(rectangle, crs, layer)
        except SourceError as error:
            raise QgsProcessingException(str(error)) from error
