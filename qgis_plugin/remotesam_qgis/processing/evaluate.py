"""`remotesam:evaluate`: segments against reference polygons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
)

from ..layers import SourceError, source_of
from ..settings import tr
from .common import ask_engine


class EvaluateAlgorithm(QgsProcessingAlgorithm):
    """Measure segments against reference polygons."""

    def createInstance(self) -> EvaluateAlgorithm:
        """A fresh copy for a run."""
        return EvaluateAlgorithm()

    def name(self) -> str:
        """Id in the provider."""
        return "evaluate"

    def displayName(self) -> str:
        """Name in the toolbox."""
        return tr("Evaluate segments")

    def shortHelpString(self) -> str:
        """Help in the dialog."""
        return tr("Compares segments with reference polygons: detection, overlap, boundaries, coverage.")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare the parameters."""
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.addParameter(QgsProcessingParameterVectorLayer("INPUT", tr("Segments"), kinds))
        self.addParameter(QgsProcessingParameterVectorLayer("REFERENCE", tr("Reference polygons"), kinds))
        raster = tr("Raster (sets the pixels to compare on, and what is nodata)")
        self.addParameter(QgsProcessingParameterRasterLayer("RASTER", raster, None, True))
        field = QgsProcessingParameterField(
            "CLASS_FIELD", tr("Class of the reference"), None, "REFERENCE", optional=True
        )
        self.addParameter(field)
        boxes = tr("The reference only boxes its objects")
        self.addParameter(QgsProcessingParameterBoolean("BOXES", boxes, False))
        report = QgsProcessingParameterFileDestination(
            "REPORT", tr("Measures"), tr("JSON files (*.json)"), None, True, False
        )
        self.addParameter(report)
        self.addOutput(QgsProcessingOutputString("MEASURES", tr("Measures as JSON")))

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        """Ask the engine."""
        words = ["evaluate", self._file(parameters, "INPUT", context)]
        words.append(self._file(parameters, "REFERENCE", context))
        raster = self.parameterAsRasterLayer(parameters, "RASTER", context)
        if raster is not None:
            words += ["--raster", self._raster_source(raster)]
        field = self.parameterAsString(parameters, "CLASS_FIELD", context)
        if field:
            words += ["--class-field", field]
        if self.parameterAsBool(parameters, "BOXES", context):
            words.append("--boxes")
        words.append("--json")  # last: the engine would take a word after it for a file
        text = json.dumps(ask_engine(words, feedback), indent=1, ensure_ascii=False)
        feedback.pushInfo(text)
        report = self.parameterAsFileOutput(parameters, "REPORT", context)
        if report:
            Path(report).write_text(text + "\n", encoding="utf-8")
        return {"MEASURES": text, "REPORT": report}

    @staticmethod
    def _raster_source(raster: Any) -> str:
        try:
            return source_of(raster)
        except SourceError as error:
            raise QgsProcessingException(str(error)) from error

    def _file(self, parameters: dict[str, Any], name: str, context: Any) -> str:
        layer = self.parameterAsVectorLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, name))
        source = str(layer.source())
        path = source.split("|", 1)[0]
        if not Path(path).is_file():
            text = tr("“{}” is not a file; save it as a GeoPackage first.").format(layer.name())
            raise QgsProcessingException(text)
        return path
