"""Settings ▸ Options ▸ remotesam: which engine, is it well, where its models are."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import QT_VERSION_STR, QTimer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from . import settings
from .engine import info
from .engine.locate import INSTALL_COMMAND, Engine, EngineError, find
from .settings import tr
from .task import CallTask

ICON = str(Path(__file__).with_name("icons") / "remotesam.svg")


class OptionsPage(QgsOptionsPageWidget):
    """The page; nothing is kept until `apply`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the page with the present settings."""
        super().__init__(parent)
        self._question: CallTask | None = None
        self.engine = QgsFileWidget()
        self.engine.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.engine.setFilePath(settings.get(settings.ENGINE_PATH))
        self.engine.lineEdit().setPlaceholderText(tr("searched automatically"))
        self.models = QgsFileWidget()
        self.models.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.models.setFilePath(settings.get(settings.MODELS_FOLDER))
        self.models.lineEdit().setPlaceholderText(tr("the engine's own folder"))
        self.check = QPushButton(tr("Check"))
        self.check.clicked.connect(self.start_check)
        self.copy = DiagnosticsButton()
        self._help = install_help()
        self.report = QLabel()
        self.report.setWordWrap(True)
        self._build()

    def _build(self) -> None:
        form = QFormLayout()
        form.addRow(tr("Engine"), self.engine)
        form.addRow(tr("Models folder"), self.models)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check)
        buttons.addWidget(self.copy)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(tr("The engine is a program of its own, with its own Python.")))
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.report)
        layout.addWidget(self._help)
        layout.addStretch(1)

    def apply(self) -> None:
        """Keep the settings; called by QGIS when OK is pressed."""
        settings.put(settings.ENGINE_PATH, self.engine.filePath().strip())
        settings.put(settings.MODELS_FOLDER, self.models.filePath().strip())

    def start_check(self) -> None:
        """Ask the engine named on the page, in the background."""
        env = settings.environment()
        try:
            engine = find(self.engine.filePath(), env)
        except EngineError as error:
            self._show_problem(str(error))
            return
        self.check.setEnabled(False)
        self.report.setText(tr("Asking {}…").format(engine.command[0]))
        self._question = CallTask(tr("Checking the engine"), lambda: info.fetch(engine, env))
        self._question.answered.connect(lambda answer: self._show_answer(engine, answer))
        self._question.failed.connect(self._show_problem)
        QgsApplication.taskManager().addTask(self._question)

    def _show_answer(self, engine: Engine, answer: info.EngineInfo) -> None:
        self.check.setEnabled(True)
        self._help.hide()
        info.save(answer, settings.info_cache())
        devices = ", ".join(answer.devices) or "?"
        present = [name for name in answer.models if answer.is_present(name)]
        self.report.setText(
            tr("<b>remotesam {version}</b> is ready.<br>Program: {program} (found in {origin})<br>"
               "Devices: {devices}<br>Models on this machine: {models}").format(
                version=answer.version, program=engine.command[0], origin=engine.origin,
                devices=devices, models=", ".join(present))
            + "".join(f"<br><b>{tr('Problem')}:</b> {text}" for text in answer.problems)
        )  # fmt: skip

    def _show_problem(self, text: str) -> None:
        self.check.setEnabled(True)
        self._help.show()
        self.report.setText(f"<b>{tr('Not ready.')}</b> {text}")


class OptionsFactory(QgsOptionsWidgetFactory):
    """Offers the page to QGIS's options dialog."""

    def __init__(self) -> None:
        """Name the page."""
        super().__init__("remotesam", QIcon(ICON))

    def icon(self) -> QIcon:
        """Icon of the page."""
        return QIcon(ICON)

    def createWidget(self, parent: QWidget | None = None) -> OptionsPage:
        """Make the page."""
        return OptionsPage(parent)


class DiagnosticsButton(QPushButton):
    """Puts everything a bug report needs on the clipboard, and says that it has."""

    def __init__(self) -> None:
        """Make the button."""
        super().__init__(tr("Copy diagnostics"))
        self.setToolTip(tr("Versions and engine state for a bug report, on the clipboard."))
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(lambda: self.setText(tr("Copy diagnostics")))
        self.clicked.connect(self._copy)

    def _copy(self) -> None:
        QgsApplication.clipboard().setText(diagnostics())
        self.setText(tr("Copied"))
        self._again.start(2000)


def install_help() -> QWidget:
    """How to install the engine: one command, with a button that copies it."""
    box = QWidget()
    column = QVBoxLayout(box)
    column.setContentsMargins(0, 0, 0, 0)
    text = QLabel(
        tr("No engine yet? Run this once in a terminal (needs uv; pipx install remotesam does as well):")
    )
    text.setWordWrap(True)
    command = QLineEdit(INSTALL_COMMAND)
    command.setReadOnly(True)
    copy = QPushButton(tr("Copy"))
    copy.clicked.connect(lambda: QgsApplication.clipboard().setText(INSTALL_COMMAND))
    row = QHBoxLayout()
    row.addWidget(command)
    row.addWidget(copy)
    column.addWidget(text)
    column.addLayout(row)
    return box


def diagnostics() -> str:
    """Versions, engine and its last answers as JSON; no file names of the user's data."""
    try:
        found: Any = settings.engine()
        where = {"command": list(found.command), "origin": found.origin}
    except EngineError as error:
        where = {"problem": str(error)}
    report = {
        "qgis": Qgis.QGIS_VERSION,
        "qt": QT_VERSION_STR,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "engine": where,
        "doctor": dict(settings.cached_info().doctor),
    }
    return json.dumps(report, indent=1, ensure_ascii=False)
