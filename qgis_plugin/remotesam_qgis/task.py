"""Engine work in QGIS's task manager. `run()` works in a thread: nothing here touches layers or widgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from qgis.core import QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from .engine.locate import EngineError
from .engine.runner import Outcome, run


class EngineTask(QgsTask):
    """One engine run.

    Signals are emitted from the worker thread; slots of objects that live in the main thread run there.
    """

    engine_event = pyqtSignal(dict)
    log_line = pyqtSignal(str)
    ended = pyqtSignal(object)

    def __init__(
        self, title: str, command: Sequence[str], env: dict[str, str], cwd: str | None = None
    ) -> None:
        """Prepare a run; it starts when the task manager gets it.

        Args:
            title: Shown in QGIS's task list.
            command: Full command line of the engine.
            env: Clean environment.
            cwd: Working folder.
        """
        super().__init__(title, quiet_flags())
        self._command, self._env, self._cwd = list(command), env, cwd
        self.outcome = Outcome("cancelled", 0, "Cancelled before it started.", None, True, 0, 0.0, ())

    def run(self) -> bool:
        """Run the engine to its end; called by QGIS in a worker thread.

        Always True: the outcome says how it went, and False would make QGIS say "Task failed" on a cancel.
        """
        began = time.monotonic()
        try:
            self.outcome = run(
                self._command,
                env=self._env,
                cwd=self._cwd,
                on_event=self._take,
                on_log=self.log_line.emit,
                is_canceled=self.isCanceled,
            )
        except EngineError as error:
            seconds = time.monotonic() - began
            self.outcome = Outcome("failed", 1, str(error), None, True, 0, seconds, ())
        return True

    def finished(self, result: bool) -> None:
        """Called by QGIS in the main thread."""
        self.ended.emit(self.outcome)

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "tile" and event.get("total"):
            self.setProgress(100.0 * float(event.get("done", 0)) / float(event["total"]))
        self.engine_event.emit(event)


class CallTask(QgsTask):
    """A short engine question asked in the background."""

    answered = pyqtSignal(object)
    failed = pyqtSignal(str)

    def __init__(self, title: str, function: Callable[[], Any]) -> None:
        """Prepare a call.

        Args:
            title: Shown in QGIS's task list.
            function: Called in a worker thread; may raise `EngineError`.
        """
        super().__init__(title, quiet_flags())
        self._function = function
        self._answer: Any = None
        self._error = ""

    def run(self) -> bool:
        """Call the function; called by QGIS in a worker thread."""
        try:
            self._answer = self._function()
        except EngineError as error:
            self._error = str(error)
        return not self._error

    def finished(self, result: bool) -> None:
        """Called by QGIS in the main thread."""
        if result:
            self.answered.emit(self._answer)
        else:
            self.failed.emit(self._error or "Cancelled.")


def quiet_flags() -> Any:
    """Cancellable, and without QGIS's own "Task complete", which it says of a cancelled run too.

    QGIS before 3.26 has no such flag and says it after five seconds.
    """
    flags = QgsTask.Flag.CanCancel
    return flags | QgsTask.Flag.Silent if hasattr(QgsTask.Flag, "Silent") else flags
