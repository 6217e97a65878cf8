"""`remotesam:panorama`: a 360° panorama to polygons."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.protocol import Job
from ..settings import tr
from .common import (
    WritesSegments,
    add_setting_parameters,
    changed_settings,
    default_model,
    raster_source,
)


class PanoramaAlgorithm(WritesSegments):
    """Segment everything in an equirectangular panorama."""

    def createInstance(self) -> PanoramaAlgorithm:
        """A fresh copy for a run."""
        return PanoramaAlgorithm()

    def name(self) -> str:
        """Id in the provider."""
        return "panorama"

    def displayName(self) -> str:
        """Name in the toolbox."""
        return tr("Segment panorama (360°)")

    def shortHelpString(self) -> str:
        """Help in the dialog."""
        return tr(
            "Turns everything in an equirectangular panorama (twice as wide as high) into polygons. It is "
            "segmented in perspective views and joined on the sphere, across the left and right edge too. "
            "Polygons are in degrees of longitude and latitude; with a world file beside the image QGIS "
            "puts the image under them (load it again)."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", tr("Panorama")))
        self.addParameter(QgsProcessingParameterString("MODEL", tr("Model or checkpoint"), default_model()))
        kind = QgsProcessingParameterNumber.Type.Integer
        size = QgsProcessingParameterNumber(
            "VIEW_SIZE", tr("Side of a view (px)"), kind, 1024, False, 64, 8192
        )
        self.addParameter(size)
        world = tr("Write a world file beside the image")
        self.addParameter(QgsProcessingParameterBoolean("WORLD_FILE", world, False))
        add_setting_parameters(self, shared=True, map_units=False)
        self.add_outputs()

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        """Run the engine."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        layer, source = raster_source(self, parameters, context, None)
        model = self.parameterAsString(parameters, "MODEL", context).strip() or default_model()
        changed = changed_settings(self, parameters, context, layer, feedback, shared=True)
        device = str(changed.pop("device", "auto"))
        changed["view_size"] = self.parameterAsInt(parameters, "VIEW_SIZE", context)
        if self.parameterAsBool(parameters, "WORLD_FILE", context):
            changed["world_file"] = True
        return self.finish(Job("panorama", source, output, model, device, None, changed), context, feedback)
