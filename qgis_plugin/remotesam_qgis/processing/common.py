"""What the algorithms share: parameters from the engine's schema, one engine run, one engine question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsVectorLayer,
)

from .. import settings
from ..engine.locate import EngineError, ask
from ..engine.protocol import Job
from ..engine.runner import Outcome, run
from ..engine.settings_schema import Setting, read_settings
from ..layers import SourceError, source_of
from ..styling import apply_style

ELSEWHERE = ("model", "aoi")
"""Settings that have parameters of their own."""

MAPS_ONLY = ("tile_size", "padding", "dst_crs", "overview")
"""Settings without a meaning on a panorama."""


class StyleSegments(QgsProcessingLayerPostProcessorInterface):
    """Gives the loaded result its colours."""

    kept: ClassVar[list[QgsProcessingLayerPostProcessorInterface]] = []
    """QGIS does not own post-processors: without a reference they are gone before they are used."""

    @classmethod
    def make(cls) -> StyleSegments:
        """A post-processor that lives long enough."""
        made = cls()
        cls.kept[:] = [*cls.kept[-20:], made]
        return made

    def postProcessLayer(self, layer: Any, context: Any, feedback: Any) -> None:
        """Called by QGIS in the main thread."""
        if isinstance(layer, QgsVectorLayer):
            apply_style(layer, settings.get(settings.STYLE, "random"))


def engine_settings(without: tuple[str, ...] = ()) -> list[Setting]:
    """The settings of the engine that was last asked, or of the one released with this plugin."""
    return read_settings(settings.cached_info().schema, without=(*ELSEWHERE, *without))


def default_model() -> str:
    """The model a run uses when none is named."""
    return settings.cached_info().default_model


def add_setting_parameters(algorithm: QgsProcessingAlgorithm, without: tuple[str, ...] = ()) -> None:
    """Add one advanced parameter per engine setting, but for some."""
    for setting in engine_settings(without):
        parameter = _parameter(setting)
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        parameter.setHelp(setting.help)
        algorithm.addParameter(parameter)


def changed_settings(algorithm: QgsProcessingAlgorithm, parameters: Mapping[str, Any], context: Any) -> dict:
    """Engine settings whose parameter differs from the default."""
    changed: dict[str, Any] = {}
    for setting in engine_settings():
        name = setting.name.upper()
        if parameters.get(name) is None:
            continue
        if setting.kind == "bool":
            value: Any = algorithm.parameterAsBool(parameters, name, context)
        elif setting.kind == "integer":
            value = algorithm.parameterAsInt(parameters, name, context)
        elif setting.kind == "number":
            value = algorithm.parameterAsDouble(parameters, name, context)
        elif setting.kind == "choice":
            value = algorithm.parameterAsEnumString(parameters, name, context)
        else:
            value = algorithm.parameterAsString(parameters, name, context).strip()
        default = setting.default_text if setting.kind in ("choice", "text") else setting.default
        if value not in (default, ""):
            changed[setting.name] = value
    return changed


def raster_source(
    algorithm: QgsProcessingAlgorithm, parameters: Any, context: Any, folder: Path | None
) -> Any:
    """The raster layer and what to hand the engine for it.

    Raises:
        QgsProcessingException: There is no raster, or the engine cannot read it.
    """
    layer = algorithm.parameterAsRasterLayer(parameters, "INPUT", context)
    if layer is None:
        raise QgsProcessingException(algorithm.invalidRasterError(parameters, "INPUT"))
    try:
        return layer, source_of(layer, folder)
    except SourceError as error:
        raise QgsProcessingException(str(error)) from error


def output_problem(output: str) -> str:
    """Why a text cannot be the output file; empty when it can."""
    if output.startswith(("memory:", "ogr:", "postgis:")) or Path(output).suffix.lower() != ".gpkg":
        return settings.tr(
            "The engine writes GeoPackage files: name a file that ends in .gpkg, not “{}”."
        ).format(output)
    return ""


def run_job(algorithm: QgsProcessingAlgorithm, job: Job, feedback: QgsProcessingFeedback) -> Outcome:
    """Run the engine for an algorithm; a cancelled run is told to the user and is no error.

    Raises:
        QgsProcessingException: No engine, or it failed.
    """
    try:
        engine = settings.engine()
        outcome = run(
            [*engine.command, *job.arguments()],
            env=settings.environment(),
            cwd=str(Path(job.output).parent),
            on_event=lambda event: _tell(event, feedback),
            on_log=feedback.pushConsoleInfo,
            is_canceled=feedback.isCanceled,
        )
    except EngineError as error:
        raise QgsProcessingException(str(error)) from error
    if outcome.status == "failed":
        raise QgsProcessingException(outcome.message)
    if outcome.status == "cancelled":
        feedback.pushWarning(outcome.message)
        if outcome.output and Path(outcome.output).exists():
            feedback.pushWarning(settings.tr("Partial result: {}").format(outcome.output))
            partial = getattr(algorithm.provider(), "partial", None)
            if partial is not None:
                partial.found.emit(outcome.output)
    return outcome


def ask_engine(words: list[str], feedback: QgsProcessingFeedback, timeout: float = 3600.0) -> Any:
    """Run a short engine command that prints JSON.

    Raises:
        QgsProcessingException: No engine, or it failed.
    """
    try:
        engine = settings.engine()
        feedback.pushCommandInfo(" ".join([*engine.command, *words]))
        return ask(engine, words, settings.environment(), timeout)
    except EngineError as error:
        raise QgsProcessingException(str(error)) from error


def _tell(event: Mapping[str, Any], feedback: QgsProcessingFeedback) -> None:
    kind = event["event"]
    if kind == "stage":
        feedback.setProgressText(str(event.get("name", "")))
    elif kind in ("tile", "step") and event.get("total"):
        feedback.setProgress(100.0 * float(event.get("done", 0)) / float(event["total"]))
    elif kind == "warning":
        feedback.pushWarning(str(event.get("message", "")))
    elif kind == "start":
        text = settings.tr("Engine {version} on {device}, {tiles} tiles.")
        known = {"version": "?", "device": "?", "tiles": "?", **event}
        feedback.pushInfo(text.format(**known))


def _parameter(setting: Setting) -> QgsProcessingParameterDefinition:
    name, title = setting.name.upper(), setting.title
    if setting.kind == "bool":
        return QgsProcessingParameterBoolean(name, title, bool(setting.default), True)
    if setting.kind == "choice":
        choices = list(setting.choices)
        return QgsProcessingParameterEnum(name, title, choices, False, setting.default_text, True, True)
    if setting.kind in ("integer", "number"):
        kinds = QgsProcessingParameterNumber.Type
        kind = kinds.Integer if setting.kind == "integer" else kinds.Double
        parameter = QgsProcessingParameterNumber(name, title, kind, setting.default, True)
        if setting.minimum is not None:
            parameter.setMinimum(setting.minimum)
        if setting.maximum is not None:
            parameter.setMaximum(setting.maximum)
        return parameter
    return QgsProcessingParameterString(name, title, setting.default_text or None, False, True)
