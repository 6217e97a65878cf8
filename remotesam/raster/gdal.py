"""Paths and URLs → GDAL datasets: names, settings, errors in one line, and the mark of an unchanged file."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from remotesam.errors import RasterError

# The same fact is part of `raster_warnings`, in words that say what to do. It has to be silenced for the
# process: warnings.catch_warnings is not thread-safe, and every thread opens its own handle.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_SCHEMES = {"http": "vsicurl/http:", "https": "vsicurl/https:", "s3": "vsis3", "gs": "vsigs", "az": "vsiaz"}
_NETWORK = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsioss", "/vsiswift", "/vsiadls", "/vsiwebhdfs")

GDAL_OPTIONS: dict[str, Any] = {
    # GDAL takes 5 % of the machine's RAM per process by default: 6 GB on a 128 GB server, per worker.
    "GDAL_CACHEMAX": 256 * 2**20,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    # Not a limit on the whole transfer, which a slow line may need: on a line that has gone silent.
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 100,
}
"""GDAL settings of every open and read; a variable of the same name in the environment goes before."""

REMOTE_OPTIONS: dict[str, Any] = {
    # Side-car files (.ovr, .msk, .aux.xml, …) are not looked for: a round trip each.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # Forget what was downloaded when a handle closes. GDAL keeps an answer that broke off half-way, so that
    # a second try would get the same half; and a changed file must not be mixed with its old header.
    "CPL_VSIL_CURL_NON_CACHED": ":".join(f"{handler}/" for handler in _NETWORK),
}
"""Further settings for rasters on a network; the environment goes before."""


def gdal_name(path: str | os.PathLike[str]) -> str:
    """The name by which GDAL knows `path`: URLs and bucket URIs become `/vsi…`, anything else stays."""
    text = os.fspath(path)
    match = re.match(r"([a-z0-9]+)://(.+)$", text, re.IGNORECASE)
    if not match:
        return text
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return urllib.request.url2pathname(f"/{rest.lstrip('/')}")
    if scheme in ("http", "https"):
        return f"/{_SCHEMES[scheme]}//{rest}"
    return f"/{_SCHEMES[scheme]}/{rest}" if scheme in _SCHEMES else text


def is_remote(name: str) -> bool:
    """True when reading the GDAL name `name` goes over a network."""
    return any(handler in name for handler in _NETWORK)


def gdal_env(path: str) -> rasterio.Env:
    """Settings for one thread, to be entered round every open and read of `path`."""
    options = GDAL_OPTIONS | (REMOTE_OPTIONS if is_remote(gdal_name(path)) else {})
    return rasterio.Env(**{key: value for key, value in options.items() if key not in os.environ})


def open_dataset(path: str, overview_level: int | None = None) -> DatasetReader:
    """Open one handle, for one thread.

    Args:
        path: What the user gave: a file, URL, or any name that GDAL understands.
        overview_level: Open this overview of the file as if it were a file of its own.

    Raises:
        RasterError: there is no such file, or GDAL cannot read it.
    """
    options = {} if overview_level is None else {"overview_level": overview_level}
    try:
        # sharing=False: a handle shared with another thread would be used by both at once.
        return rasterio.open(gdal_name(path), sharing=False, **options)
    except (RasterioError, OSError, ValueError) as error:
        raise RasterError(_why_not_opened(path, error)) from error


def _why_not_opened(path: str, error: Exception) -> str:
    name = gdal_name(path)
    if is_remote(name):
        return f"{path}: cannot be opened ({one_line(error)}); check the address and your access to it"
    local = Path(name)
    if not local.exists():
        if name.startswith("/vsi") or re.match(r"[A-Za-z0-9_]{2,}:", name):
            return f"{path}: cannot be opened ({one_line(error)})"
        return f"{path}: no such file"
    if local.is_dir():
        return f"{path}: is a folder; name the raster file in it"
    if not os.access(local, os.R_OK):
        return f"{path}: not readable by this user; check its permissions"
    if local.stat().st_size == 0:
        return f"{path}: is empty (0 bytes); copy or download it again"
    if "not recognized as" in one_line(error):
        return f"{path}: not a raster format that GDAL knows; convert it to GeoTIFF first"
    return f"{path}: not a raster that GDAL can read, or damaged ({one_line(error)})"


def one_line(error: BaseException) -> str:
    """The most telling message of an exception and its causes, without line breaks."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = getattr(cause, "errmsg", None) or str(cause) or type(cause).__name__
    return " ".join(str(text).split())


def identity_of(path: str, dataset: DatasetReader) -> str:
    """Digest by which a resumed run knows that its raster is still the same.

    Local files, side-car masks, overviews and the sources of a VRT count with size and time of change;
    http(s) with what the server says of length, ETag and date; the header counts always, with the places of
    some blocks, which move when a compressed file is written anew. Statistics that a
    GIS leaves beside a file (`.aux.xml`) do not count: what matters in them is part of the header.
    """
    digest = hashlib.sha256()
    header = (
        *(dataset.driver, dataset.height, dataset.width, dataset.dtypes, dataset.nodatavals),
        *(tuple(dataset.transform), str(dataset.crs), [c.name for c in dataset.colorinterp]),
        [(point.row, point.col, point.x, point.y) for point in dataset.gcps[0]],
        _block_places(dataset),
    )
    digest.update(repr(header).encode())
    for name in sorted(set(dataset.files) | {gdal_name(path)}):
        part = Path(name)
        if not name.endswith(".aux.xml") and part.is_file():
            stat = part.stat()
            digest.update(f"{part.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    url = gdal_name(path).removeprefix("/vsicurl/")
    if url.startswith(("http://", "https://")):
        digest.update(_server_mark(url).encode())
    return digest.hexdigest()


def _block_places(dataset: DatasetReader) -> list[str | None]:
    """Offset and size of TIFF blocks along the diagonal: a fingerprint that costs no further reading."""
    if dataset.driver != "GTiff":
        return []
    block_height, block_width = dataset.block_shapes[0]
    rows, cols = -(-dataset.height // block_height), -(-dataset.width // block_width)
    places = sorted({(k * (cols - 1) // 15, k * (rows - 1) // 15) for k in range(16)})
    names = [f"{what}_{col}_{row}" for col, row in places for what in ("BLOCK_OFFSET", "BLOCK_SIZE")]
    return [dataset.get_tag_item(name, "TIFF", bidx=1) for name in names]


def _server_mark(url: str) -> str:
    """Length, ETag and date of an http(s) file; a ranged GET because signed URLs refuse HEAD."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310 (http or https)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 (the same)
            fields = ("Content-Range", "ETag", "Last-Modified")
            return " ".join(answer.headers.get(field, "-") for field in fields)
    except OSError:
        # GDAL has just opened it, by a proxy or a header that only GDAL knows: the header alone must do.
        return "-"
