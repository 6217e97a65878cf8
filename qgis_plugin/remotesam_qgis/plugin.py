"""The plugin object: puts things into QGIS and takes them out again."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, Qt, QTimer, QTranslator
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QPushButton

FOLDER = Path(__file__).parent


class RemotesamPlugin:
    """Created by QGIS; `iface` is None in `qgis_process`."""

    def __init__(self, iface) -> None:
        """Keep the interface; nothing is shown before `initGui`."""
        self.iface = iface
        self.provider = None
        self.dock = None
        self.runs = None
        self.clicks = None
        self.action = None
        self._options = None
        self._translator = None
        self._install_translator()

    def initProcessing(self) -> None:
        """Register the algorithms; called alone in `qgis_process`."""
        from .processing.provider import RemotesamProvider

        self.provider = RemotesamProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)
        self.provider.partial.found.connect(self._offer_partial)

    def initGui(self) -> None:
        """Add the toolbar button, the panel, the options page and the algorithms."""
        from .click_controller import ClickController
        from .dock import Dock
        from .options import OptionsFactory
        from .run_controller import RunController

        self.initProcessing()
        window, canvas = self.iface.mainWindow(), self.iface.mapCanvas()
        self.dock = Dock(canvas, window)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.runs = RunController(self.dock.segment, self.dock)
        self.clicks = ClickController(self.dock.click, canvas, self.dock)
        for controller in (self.runs, self.clicks):
            controller.message.connect(self._say)
        self.runs.layer_added.connect(self._result_arrived)
        self.dock.click.select_requested.connect(lambda: self.iface.actionSelect().trigger())
        self.dock.options_requested.connect(
            lambda: self.iface.showOptionsDialog(window, currentPage="remotesam")
        )
        self._options = OptionsFactory()
        self._options.setTitle("remotesam")
        self.iface.registerOptionsWidgetFactory(self._options)
        self.action = QAction(QIcon(str(FOLDER / "icons" / "remotesam.svg")), "remotesam", window)
        self.action.setCheckable(True)
        self.action.setToolTip(self._tr("Segment a raster into polygons"))
        self.dock.setToggleVisibilityAction(self.action)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu("remotesam", self.action)

    def unload(self) -> None:
        """Stop engines and take everything out of QGIS again."""
        for controller in (self.runs, self.clicks):
            if controller is not None:
                controller.close()
        if self.dock is not None:
            self.dock.finder.close()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self._options is not None:
            self.iface.unregisterOptionsWidgetFactory(self._options)
            self._options = None
        if self.action is not None:
            self.iface.removePluginRasterMenu("remotesam", self.action)
            self.iface.removeToolBarIcon(self.action)
            self.action.deleteLater()
            self.action = None
        if self.dock is not None:
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = self.runs = self.clicks = None
        if self._translator is not None:
            QCoreApplication.removeTranslator(self._translator)

    def _say(self, text: str, level: int) -> None:
        bar = self.iface.messageBar()
        # A moment later, to lie on top of QGIS's own "Task complete".
        QTimer.singleShot(0, lambda: bar.pushMessage("remotesam", text, Qgis.MessageLevel(level), -1))

    def _result_arrived(self, layer) -> None:
        self.iface.setActiveLayer(layer)
        self.dock.click.target.setLayer(layer)

    def _offer_partial(self, path: str) -> None:
        """A cancelled algorithm has left a file: Processing itself will not load it."""
        if self.iface is None:
            return
        bar = self.iface.messageBar()
        text = self._tr("Cancelled; finished tiles are in {}.").format(path)
        item = bar.createMessage("remotesam", text)
        button = QPushButton(self._tr("Load partial result"))
        button.clicked.connect(lambda: self.load_partial(path))
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.MessageLevel.Info)

    def load_partial(self, path: str) -> None:
        """Load what a cancelled run has left."""
        from .layers import ResultGroup, open_segments
        from .styling import apply_style

        layer = open_segments(path, Path(path).stem + self._tr(" (partial)"))
        if layer is None:
            self._say(self._tr("{} holds no segments.").format(path), Qgis.MessageLevel.Warning)
            return
        apply_style(layer, "random")
        ResultGroup("", "remotesam").add(layer)

    def _install_translator(self) -> None:
        locale = str(QgsSettings().value("locale/userLocale", "") or "")[:2]
        file = FOLDER / "i18n" / f"remotesam_{locale}.qm"
        if file.exists():
            self._translator = QTranslator()
            self._translator.load(str(file))
            QCoreApplication.installTranslator(self._translator)

    @staticmethod
    def _tr(text: str) -> str:
        return QCoreApplication.translate("remotesam", text)
