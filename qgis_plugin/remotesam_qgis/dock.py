"""The panel: is there an engine, a page for whole rasters, a page for clicks."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import QObject, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from . import settings
from .click_page import ClickPage
from .engine import info
from .engine.locate import EngineError
from .options import DiagnosticsButton, install_help
from .segment_page import SegmentPage
from .settings import tr
from .task import CallTask


class Dock(QgsDockWidget):
    """The dock widget; the engine is looked for when it is first shown."""

    options_requested = pyqtSignal()

    def __init__(self, canvas, parent: QWidget | None = None) -> None:
        """Build the panel.

        Args:
            canvas: QGIS's map canvas.
            parent: Main window.
        """
        super().__init__("remotesam", parent)
        self.setObjectName("RemotesamDock")
        self.segment = SegmentPage(canvas)
        self.click = ClickPage()
        self.pages = QTabWidget()
        self.pages.setDocumentMode(True)
        self.pages.addTab(_scrolled(self.segment), tr("Whole raster"))
        self.pages.addTab(_scrolled(self.click), tr("Clicks and edits"))
        self.banner = self._build_banner()
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.banner)
        layout.addWidget(self.pages, 1)
        layout.addLayout(self._build_footer())
        self.setWidget(content)
        self.finder = EngineFinder(self)
        self.finder.found.connect(self.show_info)
        self.finder.missing.connect(self._show_missing)
        self._asked = False
        self.show_info(settings.cached_info(), remembered=True)

    def showEvent(self, event) -> None:
        """Look for the engine when the panel is first seen, not when QGIS starts."""
        super().showEvent(event)
        # QGIS shows every new dock for a moment, before the plugin can hide it.
        QTimer.singleShot(0, self._ask_once)

    def _ask_once(self) -> None:
        if self.isVisible() and not self._asked:
            self._asked = True
            self.finder.start()

    def show_info(self, answer: info.EngineInfo, *, remembered: bool = False) -> None:
        """Show an engine's models and settings.

        Args:
            answer: What the engine says.
            remembered: True = said in an earlier session; the engine may be gone by now.
        """
        self.segment.show_info(answer)
        self.click.show_models(answer)
        self.banner.hide()
        if not remembered:
            self.engine_label.setText(
                tr("Engine {version} on {device}").format(
                    version=answer.version, device=", ".join(answer.devices) or "cpu"
                )
            )

    def _show_missing(self, text: str) -> None:
        self.engine_label.setText(tr("No engine"))
        self._problem.setText(text)
        self.banner.show()

    def _build_banner(self) -> QFrame:
        banner = QFrame()
        banner.setFrameShape(QFrame.Shape.StyledPanel)
        banner.setObjectName("EngineBanner")
        banner.setStyleSheet("#EngineBanner {background: #fff4d6;} #EngineBanner QLabel {color: #4a3a00;}")
        self._problem = QLabel()
        self._problem.setWordWrap(True)
        again = QPushButton(tr("Check again"))
        again.clicked.connect(lambda: self.finder.start())  # noqa: PLW0108 (not with the signal's flag)
        options = QPushButton(tr("Options…"))
        options.clicked.connect(self.options_requested)
        row = QHBoxLayout()
        row.addWidget(again)
        row.addWidget(options)
        column = QVBoxLayout(banner)
        column.addWidget(self._problem)
        column.addWidget(install_help())
        column.addLayout(row)
        banner.hide()
        return banner

    def _build_footer(self) -> QHBoxLayout:
        self.engine_label = QLabel("")
        self.engine_label.setStyleSheet("color: gray")
        copy = DiagnosticsButton()
        copy.setFlat(True)
        row = QHBoxLayout()
        row.addWidget(self.engine_label, 1)
        row.addWidget(copy)
        return row


class EngineFinder(QObject):
    """Finds the engine and asks it about itself, in the background."""

    found = pyqtSignal(object)
    missing = pyqtSignal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        """Make a finder; nothing starts yet."""
        super().__init__(parent)
        self._task: CallTask | None = None

    def start(self) -> None:
        """Look for the engine now."""
        env = settings.environment()
        try:
            engine = settings.engine()
        except EngineError as error:
            self.missing.emit(str(error))
            return
        self._task = CallTask(tr("Looking for the remotesam engine"), lambda: info.fetch(engine, env))
        self._task.answered.connect(self._keep)
        self._task.failed.connect(self._tell_missing)
        QgsApplication.taskManager().addTask(self._task)

    def close(self) -> None:
        """Forget a question under way."""
        if self._task is not None:
            self._task.answered.disconnect(self._keep)
            self._task.failed.disconnect(self._tell_missing)
            self._task = None

    def _tell_missing(self, text: str) -> None:
        self._task = None
        self.missing.emit(text)

    def _keep(self, answer: info.EngineInfo) -> None:
        self._task = None  # QGIS deletes a task that has ended
        info.save(answer, settings.info_cache())
        self.found.emit(answer)


def _scrolled(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(page)
    return area
