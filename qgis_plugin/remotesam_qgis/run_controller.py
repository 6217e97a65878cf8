"""One run at a time: from a request of the panel to a styled layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from . import settings
from .engine.locate import EngineError, ask
from .engine.protocol import Job, setting_options
from .engine.runner import Outcome
from .layers import ResultGroup, SourceError, open_segments, release, source_of
from .live import LiveLayer
from .segment_page import Request, SegmentPage
from .settings import tr
from .styling import apply_style
from .task import CallTask, EngineTask


class RunController(QObject):
    """Starts, follows and ends runs for a page."""

    message = pyqtSignal(str, int)
    layer_added = pyqtSignal(object)

    def __init__(self, page: SegmentPage, parent: QObject | None = None) -> None:
        """Attach to a page.

        Args:
            page: The page to serve.
            parent: Owner.
        """
        super().__init__(parent)
        self._page = page
        self._task: EngineTask | None = None
        self._question: CallTask | None = None
        self._request: Request | None = None
        self._group: ResultGroup | None = None
        self._live: LiveLayer | None = None
        self._result_id = ""
        page.run_requested.connect(self.start)
        page.plan_requested.connect(self.estimate)
        page.cancel_requested.connect(self.cancel)
        page.style.currentIndexChanged.connect(self._restyle)
        page.problem.connect(lambda text: self.message.emit(text, Qgis.MessageLevel.Warning))

    @property
    def running(self) -> bool:
        """True while an engine works for this controller."""
        return self._task is not None

    def start(self, request: Request) -> None:
        """Start a run; problems found before it starts are told at once."""
        if self.running:
            return
        try:
            engine = settings.engine()
            layer = self._layer(request)
            source = source_of(layer, Path(request.output).parent)
        except (EngineError, SourceError) as error:
            self.message.emit(str(error), Qgis.MessageLevel.Critical)
            return
        release(request.output)
        self._request = request
        title = tr("Segments of {}").format(layer.name())
        self._group = ResultGroup(layer.id(), title)
        words = dict(request.settings)
        device = str(words.pop("device", "auto"))
        job = Job("segment", source, request.output, request.model, device, request.extent, words)
        command = [*engine.command, *job.arguments()]
        self._task = EngineTask(title, command, settings.environment(), str(Path(request.output).parent))
        self._task.engine_event.connect(self._take)
        self._task.log_line.connect(self._page.log.appendPlainText)
        self._task.ended.connect(self._ended)
        for note in request.notes:
            self._page.log.appendPlainText(note)
        self._page.log.appendPlainText("$ " + " ".join(command))
        self._page.show_started()
        QgsApplication.taskManager().addTask(self._task)

    def cancel(self) -> None:
        """Ask the run to stop; finished tiles are kept."""
        if self._task is not None:
            self._task.cancel()

    def estimate(self, request: Request) -> None:
        """Ask the engine what a run would take."""
        try:
            engine = settings.engine()
            source = source_of(self._layer(request), Path(request.output).parent)
        except (EngineError, SourceError) as error:
            self.message.emit(str(error), Qgis.MessageLevel.Critical)
            return
        words = ["plan", source, "--json", "--model", request.model]
        if request.extent is not None:
            words += ["--aoi", ",".join(map(repr, request.extent))]
        words += setting_options(request.settings)
        env = settings.environment()
        self._question = CallTask(tr("Estimating"), lambda: ask(engine, words, env))
        self._question.answered.connect(self._show_plan)
        self._question.failed.connect(lambda text: self.message.emit(text, Qgis.MessageLevel.Critical))
        self._page.status.setText(tr("Estimating…"))
        QgsApplication.taskManager().addTask(self._question)

    def close(self) -> None:
        """Stop everything; called when the plugin is unloaded."""
        if self._live is not None:
            self._live.stop(keep=True)
            self._live = None
        if self._task is not None:
            self._task.ended.disconnect(self._ended)
            self._task.engine_event.disconnect(self._take)
            self._task.log_line.disconnect(self._page.log.appendPlainText)
            self._task.cancel()
            self._task = None

    def _layer(self, request: Request) -> QgsRasterLayer:
        layer = QgsProject.instance().mapLayer(request.layer_id)
        if not isinstance(layer, QgsRasterLayer):
            raise SourceError(tr("The raster is no longer in the project."))
        return layer

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "start" and event.get("live") and self._group is not None:
            self._live = LiveLayer(str(event["live"]), tr("Arriving…"), self._group, self)
        elif event["event"] == "tile" and self._live is not None:
            self._live.note_growth()
        self._page.show_event(event)

    def _ended(self, outcome: Outcome) -> None:
        self._task = None
        done = outcome.status == "done"
        text = outcome.message
        added = self._show_result(outcome)
        if done:
            text = counted(outcome.features, tr("1 segment"), tr("{} segments")) + "."
        elif added:
            text += " " + tr("Run continues from the partial result.")
        self._page.show_ended(text, complete=done)
        levels = {"done": Qgis.MessageLevel.Success, "cancelled": Qgis.MessageLevel.Info}
        self.message.emit(text, levels.get(outcome.status, Qgis.MessageLevel.Critical))

    def _show_result(self, outcome: Outcome) -> bool:
        request, live = self._request, self._live
        self._live = None
        if request is None or self._group is None:
            return False
        name = Path(request.output).stem
        if outcome.partial:
            name += tr(" (partial)")
        layer = open_segments(outcome.output or request.output, name)
        if layer is None or layer.featureCount() == 0:
            if live is None or live.layer is None:
                return False
            live.layer.setName(name)
            live.stop(keep=True)
            return True
        if live is not None:
            live.stop(keep=False)
        apply_style(layer, request.style)
        self._group.add(layer)
        self._result_id = layer.id()
        self.layer_added.emit(layer)
        return True

    def _restyle(self) -> None:
        layer = QgsProject.instance().mapLayer(self._result_id)
        if layer is not None:
            apply_style(layer, self._page.style.currentData())

    def _show_plan(self, answer: Any) -> None:
        text = describe_plan(answer)
        self._page.status.setText(text)
        self.message.emit(text, Qgis.MessageLevel.Info)


def describe_plan(answer: Any) -> str:
    """What `plan --json` says, as one line: known figures first, nothing invented."""
    if not isinstance(answer, dict):
        return str(answer)
    parts = []
    if "tiles" in answer:
        parts.append(counted(int(answer["tiles"]), tr("1 tile"), tr("{} tiles")))
    for key in ("eta_s", "seconds", "estimated_seconds"):
        if isinstance(answer.get(key), (int, float)):
            parts.append(tr("about {} min").format(max(1, round(answer[key] / 60))))
            break
    if isinstance(answer.get("valid_share"), (int, float)):
        parts.append(tr("{:.0%} of the pixels hold data").format(answer["valid_share"]))
    parts += [str(text) for text in answer.get("warnings", ())]
    return " · ".join(parts) or tr("The engine has no objections.")


def counted(count: int, one: str, many: str) -> str:
    """A number of things: `one` for one of them, else `many` with the number in it."""
    return one if count == 1 else many.format(f"{count:,}".replace(",", " "))
