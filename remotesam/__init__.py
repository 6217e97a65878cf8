"""remotesam: any raster in, clean polygons of everything in it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from remotesam.panorama.segment import segment_panorama
    from remotesam.pipeline.api import segment
    from remotesam.pipeline.result import Result

__all__ = ["Result", "__version__", "segment", "segment_panorama"]

_LATE = {
    "segment": "remotesam.pipeline.api",
    "segment_panorama": "remotesam.panorama.segment",
    "Result": "remotesam.pipeline.result",
}


def __getattr__(name: str) -> Any:
    # Late, so that `import remotesam` does not wait for GDAL and `remotesam --help` not for either.
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'remotesam' has no attribute {name!r}")
