"""remotesam: any raster in, clean polygons of everything in it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remotesam._version import __version__

if TYPE_CHECKING:
    from remotesam.panorama.segment import segment_panorama
    from remotesam.pipeline.result import Result
    from remotesam.pipeline.segment import segment
    from remotesam.raster.arrays import ArraySource

__all__ = ["ArraySource", "Result", "__version__", "segment", "segment_panorama"]

_LATE = {
    "segment": "remotesam.pipeline.segment",
    "segment_panorama": "remotesam.panorama.segment",
    "Result": "remotesam.pipeline.result",
    "ArraySource": "remotesam.raster.arrays",
}


def __getattr__(name: str) -> Any:
    # Late, so that `import remotesam` does not wait for GDAL and `remotesam --help` not for either.
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'remotesam' has no attribute {name!r}")
