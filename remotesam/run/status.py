"""How far a run has come, read from its directory alone."""

from __future__ import annotations

from typing import Any

from remotesam.grid import TileGrid
from remotesam.run.store import RunStore


def run_status(directory: str) -> dict[str, Any]:
    """Look at a run directory.

    Returns:
        JSON-ready: raster, output, tiles in all and finished per stage, failures as {tile, error}.

    Raises:
        StoreError: there is no run in the directory.
    """
    store = RunStore(directory)
    manifest = store.manifest()
    height, width, _, padding = manifest["grid"]
    sizes = sorted(set(manifest["config"]["tile_size"]), reverse=True)
    stores = [store] if len(sizes) == 1 else [RunStore(f"{directory}/scales/{size}") for size in sizes]
    return {
        "run": directory,
        "raster": manifest["raster"],
        "output": manifest["output"],
        "model": manifest["identity"]["model"],
        "tiles": sum(len(TileGrid(height, width, size, padding)) for size in sizes),
        "finished": {
            "tiles": sum(len(one.finished("tiles")) for one in stores),
            "seams": sum(len(one.finished("seams")) for one in stores),
            "polygons": len(store.finished("polygons")),
        },
        "matched": all(one.exists("match/summary.json") for one in stores),
        "written": store.exists("written.json"),
        "failures": [failure for one in stores for failure in failures(one)],
    }


def failures(store: RunStore) -> list[dict[str, Any]]:
    """The failed tiles of a run as {tile, error}, in tile order."""
    found = [store.get_json(f"tiles/{index}.failed") for index in sorted(store.finished("tiles", ".failed"))]
    return [{"tile": one["tile"], "error": one["error"]} for one in found]


def describe(found: dict[str, Any]) -> str:
    """The status as a short text."""
    finished = found["finished"]
    lines = [
        f"{found['run']}: {found['raster']} → {found['output']} with {found['model']}",
        f"tiles {finished['tiles']}/{found['tiles']}, seams {finished['seams']}, "
        f"match {'done' if found['matched'] else 'open'}, polygons of {finished['polygons']} tiles, "
        f"output {'written' if found['written'] else 'open'}",
    ]
    lines += [f"failed: tile {one['tile']}: {one['error']}" for one in found["failures"]]
    return "\n".join(lines)
