"""Figures of the spherical mode: projector, layouts, synthetic merge, and whole runs.

python benchmarks/panorama.py sampling            # ms per view, against py360convert when it is installed
python benchmarks/panorama.py layouts             # views, pixels, guaranteed context for panorama widths
python benchmarks/panorama.py merge [--seeds N]   # mean IoU by merge strategy (fixed seeds)
python benchmarks/panorama.py run IMAGE           # a whole run with the bundled model: seconds, peak memory,
                                                  # how much of the borders of views shows
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.sphere_merge import STRATEGIES, ViewedScene
from benchmarks.sphere_scenes import SphereScene
from benchmarks.view_borders import before_and_after
from remotesam.run.store import RunStore
from remotesam.sphere import Equirect, Sampler, View, views


def sampling(_: argparse.Namespace) -> None:
    """Time of one 1024 px, 90° view out of 8192×4096, in one process, alternating."""
    grid = Equirect.whole(8192)
    image = np.random.default_rng(0).integers(0, 255, (4096, 8192, 3), np.uint8)
    sampler = Sampler(image, grid)
    native = [View(0, lon, lat, 1024, grid.focal) for lon, lat in ((10.0, 0.0), (-170.0, 35.0), (0.0, 90.0))]
    wide = [View(0, lon, lat, 1024, 512.0) for lon, lat in ((10.0, 0.0), (-170.0, 35.0), (0.0, 90.0))]
    rows: dict[str, Callable[[], Any]] = {}
    for view in native:
        rows[f"native view at lat {view.lat:g}"] = lambda view=view: sampler.sample(view)
    for view in wide:
        rows[f"90° view at lat {view.lat:g} (pyramid)"] = lambda view=view: sampler.sample(view)
    try:
        from py360convert import e2p
    except ImportError:
        print("py360convert is not installed; pip install py360convert to compare")
    else:
        step = iter(range(10_000))
        rows["py360convert, 90°, a new view each time"] = lambda: e2p(
            image, (90, 90), next(step) % 360 * 0.7, 20, (1024, 1024)
        )
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _round in range(5):
        for name, work in rows.items():
            started = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - started) * 1000)
    for name, values in times.items():
        print(f"{name:44} {min(values):8.1f} ms (median {statistics.median(values):.1f})")


def layouts(_: argparse.Namespace) -> None:
    """Number and size of views, pixels sampled against those the sphere has, guaranteed context."""
    print("  panorama  layout  views  size    fov     Mpx of sphere  context")
    for width in (2048, 4096, 5400, 8192, 8432, 11000, 16384):
        for name in ("rings", "cube", "sap"):
            layout = views(width, name)  # type: ignore[arg-type]  # one of the names
            view = layout.views[0]
            pixels = len(layout) * view.size**2
            sphere = 4 * math.pi * Equirect.whole(width).focal ** 2
            print(
                f"{width:>10} {name:>7} {len(layout):>6} {view.size:>5} {view.fov:>6.1f} "
                f"{pixels / 1e6:>7.1f} {pixels / sphere:>8.2f}× {layout.pad:>5.0f} px"
            )


CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gaps between objects, clean", {"gaps": True}),
    ("no gaps, clean", {}),
    ("no gaps, views misaligned 0.3°", {"misaligned": 0.3}),
    ("+ 15 % of objects split", {"misaligned": 0.3, "split": 0.15}),
    ("misaligned 0.6°, 15 % split", {"misaligned": 0.6, "split": 0.15}),
    ("gaps, 0.3°, 30 % split", {"gaps": True, "misaligned": 0.3, "split": 0.3}),
)


def merge(arguments: argparse.Namespace) -> None:
    """Solid-angle mean IoU with the truth: 235 random cells seen by the 51 views of an 8K panorama."""
    print(f"{'case':34}" + "".join(f"{name:>12}" for name in STRATEGIES))
    for title, scene in CASES:
        viewed = ViewedScene(SphereScene(seed=1, **scene))
        print(f"{title:34}" + "".join(f"{viewed.score(name):>12.3f}" for name in STRATEGIES), flush=True)
    scores = []
    for seed in range(10, 10 + arguments.seeds):
        viewed = ViewedScene(SphereScene(seed=seed, misaligned=0.3, split=0.15))
        scores.append([viewed.score(name) for name in STRATEGIES])
    if scores:
        title = f"held-out seeds 10-{9 + arguments.seeds}, mean"
        print(f"{title:34}" + "".join(f"{value:>12.3f}" for value in np.mean(scores, axis=0)))
        print(f"{'  lowest':34}" + "".join(f"{value:>12.3f}" for value in np.min(scores, axis=0)))


def run(arguments: argparse.Namespace) -> None:
    """A whole run, by stage."""
    from remotesam.panorama.segment import segment_panorama

    settings = dict(part.split("=", 1) for part in arguments.set)
    with tempfile.TemporaryDirectory() as folder:
        result = segment_panorama(
            arguments.image,
            str(Path(folder) / "out.geojson"),
            config=settings,
            run_dir=arguments.run_dir,
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{Path(arguments.image).name}: {result.stats}")
        print(f"coverage {result.coverage:.3f}, peak memory {peak:.2f} GiB")
        grid = result.objects.grid
        before, after = before_and_after(RunStore(result.run_dir), views(grid.full_width), grid)
    print(f"borders of views that show (half a view away): {before}, with seamlines {after}")


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    commands.add_parser("sampling").set_defaults(work=sampling)
    commands.add_parser("layouts").set_defaults(work=layouts)
    merging = commands.add_parser("merge")
    merging.add_argument("--seeds", type=int, default=6, help="held-out scenes")
    merging.set_defaults(work=merge)
    running = commands.add_parser("run")
    running.add_argument("image")
    running.add_argument("--run-dir", help="where finished views are kept; default: nowhere")
    running.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    running.set_defaults(work=run)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
