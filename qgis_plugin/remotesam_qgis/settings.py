"""What the user has set, and what follows from it: which engine, in which environment."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication

from .engine import info
from .engine.environ import clean_env, host_prefixes
from .engine.locate import Engine, find

ENGINE_PATH = "remotesam/engine_path"
MODELS_FOLDER = "remotesam/models_folder"
STYLE = "remotesam/style"
MODEL = "remotesam/model"


def tr(text: str) -> str:
    """Translate a text of the plugin."""
    return QCoreApplication.translate("remotesam", text)


def get(key: str, default: str = "") -> str:
    """A setting of this plugin as text."""
    return str(QgsSettings().value(key, default) or "")


def put(key: str, value: str) -> None:
    """Keep a setting of this plugin."""
    QgsSettings().setValue(key, value)


def environment() -> dict[str, str]:
    """Environment of every engine process started from here."""
    prefixes = host_prefixes()
    qgis = QgsApplication.prefixPath()
    if qgis and qgis not in ("/usr", "/usr/local"):
        prefixes.append(qgis)
    env = clean_env(os.environ, prefixes, _proxy())
    folder = get(MODELS_FOLDER)
    if folder:
        env["REMOTESAM_MODELS"] = folder
    return env


def engine() -> Engine:
    """The engine to use.

    Raises:
        EngineError: None is found; the text says what to do.
    """
    return find(get(ENGINE_PATH), environment())


def cached_info() -> info.EngineInfo:
    """What the engine last said about itself; never starts a process."""
    return info.load(info_cache())


def info_cache() -> Path:
    """File that keeps the engine's last answers."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "remotesam" / "engine.json"


def _proxy() -> str | None:
    settings = QgsSettings()
    kinds = {"HttpProxy": "http", "HttpCachingProxy": "http", "Socks5Proxy": "socks5"}
    scheme = kinds.get(settings.value("proxy/proxyType", "", type=str))
    host = settings.value("proxy/proxyHost", "", type=str)
    if not settings.value("proxy/proxyEnabled", False, type=bool) or not scheme or not host:
        return None
    port = settings.value("proxy/proxyPort", "", type=str)
    user = settings.value("proxy/proxyUser", "", type=str)
    password = settings.value("proxy/proxyPassword", "", type=str)
    login = f"{quote(user)}:{quote(password)}@" if user else ""
    return f"{scheme}://{login}{host}" + (f":{port}" if port else "")
