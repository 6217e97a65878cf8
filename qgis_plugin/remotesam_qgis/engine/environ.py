"""A clean environment for a foreign Python started from inside QGIS.

QGIS sets variables for its own interpreter, GDAL, PROJ and Qt. Inherited by the engine they make it load the
wrong standard library, the wrong numpy or a PROJ database of another version. Each name below was seen to do
harm, or mixes versions on the platform that sets it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

DROPPED_PREFIXES = ("PYTHON", "QT_", "O4W_QT_", "CONDA_", "_CONDA_")
DROPPED = frozenset(
    {
        "__PYVENV_LAUNCHER__",
        "VIRTUAL_ENV",
        "PROJ_LIB",
        "PROJ_DATA",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "GDAL_PAM_PROXY_DIR",
        "QGIS_PREFIX_PATH",
    }
)
LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ENGINE_SETTINGS = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",
}


def clean_env(
    environ: Mapping[str, str], host_prefixes: Iterable[str] = (), proxy: Optional[str] = None
) -> dict[str, str]:
    """Copy an environment without what belongs to QGIS.

    Args:
        environ: The environment of the QGIS process.
        host_prefixes: Folders of the QGIS installation; search-path entries and certificates inside them go.
        proxy: URL of the proxy from the QGIS settings; None leaves the proxy variables alone.

    Returns:
        A new mapping for the engine process. User variables (CUDA_VISIBLE_DEVICES, AWS_*, GDAL_CACHEMAX, ...)
        stay as they are.
    """
    hosts = [_normal(prefix) for prefix in (*host_prefixes, environ.get("OSGEO4W_ROOT", "")) if prefix]
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() not in DROPPED and not name.upper().startswith(DROPPED_PREFIXES)
    }
    search_paths = [name for name in kept if name in LIBRARY_PATHS]
    if os.name == "nt":  # DLLs are searched along PATH there
        search_paths += [name for name in kept if name.upper() == "PATH"]
    for name in search_paths:
        entries = [entry for entry in kept[name].split(os.pathsep) if not _inside(entry, hosts)]
        kept[name] = os.pathsep.join(entries)
        if not entries:
            del kept[name]
    for name in CERTIFICATES:
        if name in kept and (not Path(kept[name]).exists() or _inside(kept[name], hosts)):
            del kept[name]
    kept.update(ENGINE_SETTINGS)
    if proxy:
        kept.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy))
    return kept


def popen_kwargs() -> dict[str, Any]:
    """Arguments of `subprocess.Popen`: a process group of the engine's own, and no console window."""
    if os.name == "nt":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
        return {"creationflags": flags}
    return {"start_new_session": True}


def stop_group(process: subprocess.Popen[bytes], force: bool) -> None:
    """Ask (or force) the engine and every process it started to end; a group already gone is fine.

    Args:
        process: A process started with `popen_kwargs()`.
        force: False = terminate, True = kill.
    """
    if os.name == "nt":
        taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
        command = [str(taskkill), "/T", "/PID", str(process.pid)] + (["/F"] if force else [])
        subprocess.run(command, capture_output=True, check=False, timeout=10, **popen_kwargs())  # nosec B603
        return
    try:
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
    except ProcessLookupError:
        return


def host_prefixes() -> list[str]:
    """Folders that belong to the program this code is embedded in (QGIS), as far as Python knows them."""
    return [prefix for prefix in {sys.prefix, sys.base_prefix} if prefix not in ("/usr", "/usr/local")]


def _normal(path: str) -> str:
    return os.path.normcase(os.path.normpath(path))


def _inside(entry: str, hosts: list[str]) -> bool:
    path = _normal(entry) if entry else ""
    return any(path == host or path.startswith(host + os.sep) for host in hosts)
