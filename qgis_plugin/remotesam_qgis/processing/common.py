"""What the algorithms share: parameters from the engine's schema, one engine run, one engine question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .. import settings
from ..area_box import PIXELS, conversion
from ..engine.locate import EngineError, ask
from ..engine.protocol import Job, stage_title
from ..engine.runner import Outcome, run
from ..engine.settings_schema import Setting, overview_level, read_settings
from ..layers import SourceError, pixel_area, source_of
from ..styling import apply_style

ELSEWHERE = ("model", "aoi")
"""Settings that have parameters of their own."""

UNIT_SUFFIX = "_UNIT"
MAP_UNITS = "map units"


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


class WritesSegments(QgsProcessingAlgorithm):
    """What the algorithms that segment have in common: their output."""

    def add_outputs(self) -> None:
        """Declare the output parameter and the count; called at the end of `initAlgorithm`."""
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", settings.tr("Segments"), kind))
        self.addOutput(QgsProcessingOutputNumber("SEGMENTS", settings.tr("Number of segments")))

    def checkParameterValues(self, parameters: dict[str, Any], context: Any) -> tuple[bool, str]:
        """Refuse outputs the engine cannot write, before anything runs."""
        ok, text = super().checkParameterValues(parameters, context)
        if not ok:
            return ok, text
        problem = output_problem(self.parameterAsOutputLayer(parameters, "OUTPUT", context))
        return (not problem, problem)

    def finish(self, job: Job, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the engine, and see that QGIS styles what it loads.

        Raises:
            QgsProcessingException: No engine, or it failed.
        """
        outcome = run_job(self, job, feedback)
        if outcome.status == "done" and context.willLoadLayerOnCompletion(job.output):
            context.layerToLoadOnCompletionDetails(job.output).setPostProcessor(StyleSegments.make())
        return {"OUTPUT": job.output, "SEGMENTS": outcome.features}


def engine_settings(*, shared: bool = False) -> list[Setting]:
    """The settings of the engine that was last asked, or of the one released with this plugin.

    Args:
        shared: Only those that every kind of run has.
    """
    found = read_settings(settings.cached_info().schema, without=ELSEWHERE)
    return [setting for setting in found if setting.shared or not shared]


def default_model() -> str:
    """The model a run uses when none is named."""
    return settings.cached_info().default_model


def add_setting_parameters(
    algorithm: QgsProcessingAlgorithm, *, shared: bool = False, map_units: bool = True
) -> None:
    """Add one advanced parameter per engine setting, but for some.

    Args:
        algorithm: Gets the parameters.
        shared: Only the settings that every kind of run has.
        map_units: Areas can be given in map units too, by a second parameter.
    """
    for setting in engine_settings(shared=shared):
        _add_advanced(algorithm, _parameter(setting), setting.help)
        if setting.kind == "area" and map_units:
            title = settings.tr("Unit of {}").format(setting.title.lower())
            text = settings.tr(
                "Map units are those of the raster's CRS, squared; square metres where it is in degrees. "
                "They are converted with the pixel at the centre of the raster."
            )
            units = [PIXELS, MAP_UNITS]
            name = setting.name.upper() + UNIT_SUFFIX
            unit = QgsProcessingParameterEnum(name, title, units, False, PIXELS, True, True)
            _add_advanced(algorithm, unit, text)


def _add_advanced(
    algorithm: QgsProcessingAlgorithm, parameter: QgsProcessingParameterDefinition, text: str
) -> None:
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    parameter.setHelp(text)
    algorithm.addParameter(parameter)


def changed_settings(
    algorithm: QgsProcessingAlgorithm,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
    layer: QgsRasterLayer,
    feedback: QgsProcessingFeedback,
    *,
    shared: bool = False,
) -> dict[str, Any]:
    """Engine settings whose parameter differs from the default.

    Args:
        algorithm: Asked for its parameters.
        parameters: Given by the user.
        context: Of the run.
        layer: The raster, whose pixels areas in map units are converted to.
        feedback: Is told of such conversions.
        shared: Only the settings that every kind of run has.

    Raises:
        QgsProcessingException: An area is in map units and the raster has none.
    """
    changed: dict[str, Any] = {}
    for setting in engine_settings(shared=shared):
        name = setting.name.upper()
        if parameters.get(name) is None:
            continue
        if setting.kind == "bool":
            value: Any = algorithm.parameterAsBool(parameters, name, context)
        elif setting.kind == "integer":
            value = algorithm.parameterAsInt(parameters, name, context)
        elif setting.kind == "number":
            value = algorithm.parameterAsDouble(parameters, name, context)
        elif setting.kind == "area":
            value = _area(algorithm, setting, parameters, context, layer, feedback)
        elif setting.kind == "choice":
            value = algorithm.parameterAsEnumString(parameters, name, context)
        else:
            value = algorithm.parameterAsString(parameters, name, context).strip()
        default = setting.default_text if setting.kind in ("choice", "text") else setting.default
        if value not in (default, ""):
            changed[setting.name] = value
    return changed


def _area(
    algorithm: QgsProcessingAlgorithm,
    setting: Setting,
    parameters: Mapping[str, Any],
    context: QgsProcessingContext,
    layer: QgsRasterLayer,
    feedback: QgsProcessingFeedback,
) -> int:
    """An area in pixels, whatever it was given in."""
    name = setting.name.upper()
    area = algorithm.parameterAsDouble(parameters, name, context)
    unit = name + UNIT_SUFFIX
    if parameters.get(unit) is None or algorithm.parameterAsEnumString(parameters, unit, context) == PIXELS:
        return round(area)
    pixel = pixel_area(layer)
    if pixel is None:
        text = settings.tr("{}: the raster has no CRS, and so no map units; give {} in px.")
        raise QgsProcessingException(text.format(layer.name(), name))
    level = overview_level(algorithm.parameterAsString(parameters, "OVERVIEW", context))
    pixel = pixel.at_overview(level)
    feedback.pushInfo(conversion(setting.title, area, pixel))
    return pixel.pixels(area)


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
        feedback.setProgressText(stage_title(event))
    elif kind in ("tile", "step") and event.get("total"):
        feedback.setProgress(100.0 * float(event.get("done", 0)) / float(event["total"]))
    elif kind == "warning":
        feedback.pushWarning(str(event.get("message", "")))
    elif kind == "start":
        text = settings.tr("Engine {version}, {tiles} tiles.")
        feedback.pushInfo(text.format(**{"version": "?", "tiles": "?", **event}))
    elif kind == "model":
        text = settings.tr("Model {name} on {device}.")
        feedback.pushInfo(text.format(**{"name": "?", "device": "?", **event}))


def _parameter(setting: Setting) -> QgsProcessingParameterDefinition:
    name, title = setting.name.upper(), setting.title
    if setting.kind == "bool":
        return QgsProcessingParameterBoolean(name, title, bool(setting.default), True)
    if setting.kind == "choice":
        choices = list(setting.choices)
        return QgsProcessingParameterEnum(name, title, choices, False, setting.default_text, True, True)
    if setting.kind in ("integer", "number", "area"):
        kinds = QgsProcessingParameterNumber.Type
        kind = kinds.Integer if setting.kind == "integer" else kinds.Double
        parameter = QgsProcessingParameterNumber(name, title, kind, setting.default, True)
        if setting.minimum is not None:
            parameter.setMinimum(setting.minimum)
        if setting.maximum is not None:
            parameter.setMaximum(setting.maximum)
        return parameter
    return QgsProcessingParameterString(name, title, setting.default_text or None, False, True)
