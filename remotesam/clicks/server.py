"""`remotesam serve`: a resident process that turns clicks on a raster into polygons.

JSON lines both ways (framing: `protocol.py`). Coordinates are those of the raster's CRS, or its pixels when
it has none. Requests `{"id", "cmd", ...}`:

```
open     raster, model="nano", device="auto", bands=null, stretch="auto"
predict  points [[x, y], ...], labels [1 = object, 0 = not, ...], box [west, south, east, north] | null
reset    forget the encoded chips
quit
```

Replies `{"event": "reply", "id", "cmd", "ok", ...}`: `open` gives `crs`, `width`, `height`; `predict` gives
`candidates`, best first, each `{"wkb": hex, "score", "area_px"}`, with `encodes` and `seconds`; with
`"ok": false` there is a `message`. The end of the input is `quit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from remotesam.clicks.service import ClickModel, ClickService
from remotesam.errors import InputError, RemotesamError
from remotesam.events import EventWriter
from remotesam.raster.reader import open_raster


class Open(msgspec.Struct, tag_field="cmd", tag="open", frozen=True):
    """Work on a raster from now on."""

    id: int
    raster: str
    model: str = "nano"
    device: str = "auto"
    bands: tuple[int, ...] | None = None
    stretch: str = "auto"


class Predict(msgspec.Struct, tag_field="cmd", tag="predict", frozen=True):
    """Find the object that the prompts mean."""

    id: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[Literal[0, 1], ...] = ()
    box: tuple[float, float, float, float] | None = None


class Reset(msgspec.Struct, tag_field="cmd", tag="reset", frozen=True):
    """Forget the encoded chips."""

    id: int


class Quit(msgspec.Struct, tag_field="cmd", tag="quit", frozen=True):
    """End the process."""

    id: int | None = None


def serve(lines: Iterable[bytes], writer: EventWriter, load: Callable[[str, str], ClickModel]) -> None:
    """Answer requests until `quit` or the end of the input; a request that fails is answered, not fatal.

    Args:
        lines: Requests, one JSON object each.
        writer: Where replies go.
        load: Makes a model from (name or path, device); called when one is first needed and when it changes.
    """
    session = _Session(load)
    for line in lines:
        about: dict[str, Any] = {}
        try:
            about = _identity(line)
            request = _request(line)
            if isinstance(request, Quit):
                return
            answer = session.answer(request)
        except RemotesamError as error:
            writer.write("reply", **about, ok=False, message=" ".join(str(error).split()))
        else:
            writer.write("reply", **about, ok=True, **answer)


class _Session:
    """Holds the one model and the one raster in use."""

    def __init__(self, load: Callable[[str, str], ClickModel]) -> None:
        self._load = load
        self._loaded: tuple[str, str] | None = None
        self._model: ClickModel | None = None
        self._service: ClickService | None = None

    def answer(self, request: Open | Predict | Reset) -> dict[str, Any]:
        if isinstance(request, Open):
            return self._open(request)
        if self._service is None:
            raise InputError("no raster is open; send open first")
        if isinstance(request, Reset):
            self._service.reset()
            return {}
        began, before = time.perf_counter(), self._service.encodes
        found = self._service.predict(request.points, request.labels, request.box)
        seconds = round(time.perf_counter() - began, 4)
        return {"candidates": found, "encodes": self._service.encodes - before, "seconds": seconds}

    def _open(self, request: Open) -> dict[str, Any]:
        raster = open_raster(request.raster, bands=request.bands, stretch=request.stretch)
        wanted = (request.model, request.device)
        if self._model is None or self._loaded != wanted:
            self._model = None  # two large models need not fit side by side
            self._model = self._load(*wanted)
            self._loaded = wanted
        self._service = ClickService(raster, self._model)
        return {"crs": raster.spec.crs, "width": raster.spec.width, "height": raster.spec.height}


def _identity(line: bytes) -> dict[str, Any]:
    """Id and command of a request, for its reply, even when the rest of it is wrong."""
    try:
        request = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise InputError(f"request is not JSON ({error})") from None
    if not isinstance(request, dict):
        raise InputError("request is not a JSON object")
    return {"id": request.get("id"), "cmd": request.get("cmd")}


def _request(line: bytes) -> Open | Predict | Reset | Quit:
    try:
        return msgspec.json.decode(line, type=Open | Predict | Reset | Quit)
    except msgspec.ValidationError as error:
        raise InputError(f"request not understood: {error}") from None
