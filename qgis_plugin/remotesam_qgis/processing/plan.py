"""`remotesam:plan`: what a run would take, before it runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.protocol import setting_options
from ..settings import tr
from .common import add_setting_parameters, ask_engine, changed_settings, default_model, raster_source


class PlanAlgorithm(QgsProcessingAlgorithm):
    """Count tiles and look for trouble without segmenting anything."""

    def createInstance(self) -> PlanAlgorithm:
        """A fresh copy for a run."""
        return PlanAlgorithm()

    def name(self) -> str:
        """Id in the provider."""
        return "plan"

    def displayName(self) -> str:
        """Name in the toolbox."""
        return tr("Plan a segmentation")

    def shortHelpString(self) -> str:
        """Help in the dialog."""
        return tr("Says how many tiles a run has, what it needs, and what is odd about the raster.")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", tr("Raster")))
        self.addParameter(QgsProcessingParameterString("MODEL", tr("Model or checkpoint"), default_model()))
        add_setting_parameters(self)
        self.addOutput(QgsProcessingOutputNumber("TILES", tr("Number of tiles")))
        self.addOutput(QgsProcessingOutputString("PLAN", tr("The whole plan as JSON")))

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        """Ask the engine."""
        with tempfile.TemporaryDirectory(prefix="remotesam_") as folder:
            layer, source = raster_source(self, parameters, context, Path(folder))
            words = ["plan", source, "--json"]
            words += [
                "--model",
                self.parameterAsString(parameters, "MODEL", context).strip() or default_model(),
            ]
            words += setting_options(changed_settings(self, parameters, context, layer, feedback))
            answer = ask_engine(words, feedback)
        text = json.dumps(answer, indent=1, ensure_ascii=False)
        feedback.pushInfo(text)
        tiles = answer.get("tiles") if isinstance(answer, dict) else None
        return {"TILES": tiles, "PLAN": text}
