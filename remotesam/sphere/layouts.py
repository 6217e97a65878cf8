"""Which views cover the sphere: latitude rings (for everything), SAP's grid (for clicks), a cube."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from remotesam.errors import ConfigError
from remotesam.sphere.views import View

LayoutName = Literal["rings", "sap", "cube"]

MAX_AUTO_FOV = 60.0
"""Widest view that `auto` makes, degrees. Off-axis pixels are stretched by sec² θ, 1.33 at the edge of 60°
and 1.63 at 76° (the native view of a 4096 px panorama), and SAM was not trained on fish-eye corners."""

MIN_VIEW_SIZE = 256
"""Smallest view made for small panoramas, px; below it the chips would only be blur."""

SAP_FOV = 90.0
"""Field of view of SAP's views, degrees, between the *centres* of the outer pixels (arXiv 2603.12759)."""

SAP_YAW_STEP = 45.0
"""SAP's step: 90° at an overlap of 0.5, so 8 columns."""

SAP_PITCHES = (45.0, 0.0, -45.0)
"""SAP's rows, top first: three 90° views spaced by 45° span exactly from pole to pole."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Views that cover the whole sphere, and the context each is promised around what it owns."""

    name: LayoutName
    views: tuple[View, ...]
    pad: float
    """Context, px of a view, that every owned direction keeps from the view's border; 0 = none promised."""

    def __len__(self) -> int:
        return len(self.views)

    def neighbours(self, index: int) -> list[View]:
        """The other views whose squares may meet that of view `index`, in index order."""
        view = self.views[index]
        return [other for other in self.views if other.index != index and view.meets(other)]


def views(
    width: int,
    layout: LayoutName = "rings",
    *,
    view_size: int = 1024,
    fov: float | None = None,
    pad: float = 0.10,
) -> Layout:
    """The views for a panorama (`docs/algorithms.md#views`).

    Args:
        width: Columns of the whole panorama, px: sets the native resolution.
        layout: `rings`: rings of latitude with one view on each pole; `sap`: 8 columns × 3 rows of 90° views;
            `cube`: six faces.
        view_size: Side of a view, px. `rings` makes smaller ones when the panorama has fewer pixels than that
            in `MAX_AUTO_FOV` degrees, down to `MIN_VIEW_SIZE`.
        fov: Field of view from edge to edge, degrees; None: native resolution at the centre of a view, at
            most `MAX_AUTO_FOV` wide (`rings`), or the width the layout is defined by (`sap`, `cube`).
        pad: Context on each side as a share of the view's side, 0 ≤ pad < 0.5 (`rings`, `cube`).

    Raises:
        ConfigError: an unknown layout, or values out of range.
    """
    if layout not in ("rings", "sap", "cube"):
        raise ConfigError(f"unknown view layout '{layout}'; use rings, sap or cube")
    if width < 8 or view_size < 16:
        raise ConfigError(
            f"views of {view_size} px on a panorama {width} px wide are too small; use larger ones"
        )
    if not 0 <= pad <= 0.4:
        raise ConfigError(f"pad {pad} is out of range; give a share of the view's side between 0 and 0.4")
    if fov is not None and not 5 <= fov <= 120:
        raise ConfigError(f"fov {fov} is out of range; give 5 to 120 degrees")
    if layout == "sap":
        return _sap(view_size, fov)
    if layout == "cube":
        return _cube(view_size, fov, pad)
    return _rings(width, view_size, fov, pad)


def _rings(width: int, view_size: int, fov: float | None, pad: float) -> Layout:
    """Equally spaced rings of latitude, each with the fewest views whose cores cover its band.

    The closed rule: n rings at latitude -90 + 180 k / (n + 1) and one view on each pole; n + 1 is
    ⌈180° / core field of view⌉, or one or two more if that takes fewer views. For 8192×4096 at pad 0.10 that
    is 51 views of 1024 px, 2.5 times the sphere's own pixels; a cube cut into tiles needs 96, an equal grid
    66. Views over the seam are ordinary views, and a pole is the centre of its view.
    """
    native = width / math.tau
    if fov is None:
        widest = 2 * native * math.tan(math.radians(MAX_AUTO_FOV / 2))
        size = max(min(view_size, round(widest)), min(view_size, MIN_VIEW_SIZE))
        focal = max(native, size / (2 * math.tan(math.radians(MAX_AUTO_FOV / 2))))
    else:
        size = view_size
        focal = size / (2 * math.tan(math.radians(fov / 2)))
    margin = pad * size
    reach = (size / 2 - margin) / focal
    least = max(math.ceil(180 / (2 * math.degrees(math.atan(reach)))), 2)
    # The fewest rings may leave too little room to the sides: one ring more can need far fewer views.
    counts = min((_ring_counts(steps, reach) for steps in range(least, least + 3)), key=sum)
    made = [View(0, 0.0, 90.0, size, focal)]
    for row, count in enumerate(counts, start=1):
        lat = 90 - row * 180 / (len(counts) + 1)
        made += [
            View(len(made) + col, -180 + 360 * (col + 0.5) / count, lat, size, focal) for col in range(count)
        ]
    made.append(View(len(made), 0.0, -90.0, size, focal))
    return Layout("rings", tuple(made), margin)


def _ring_counts(steps: int, reach: float) -> list[int]:
    """Views of each ring between the poles when rings are `180 / steps` degrees apart."""
    return [_ring_count(90 - row * 180 / steps, 90 / steps, reach) for row in range(1, steps)]


def _ring_count(lat: float, half_band: float, reach: float) -> int:
    """Fewest equally spaced views at `lat` whose cores (plane half-side `reach`) cover `lat ± half_band`."""
    phi = np.radians(np.linspace(lat - half_band, lat + half_band, 65))
    tilt = math.radians(lat)
    for count in range(3, 100_000):
        lon = math.pi / count
        depth = np.cos(phi) * math.cos(lon) * math.cos(tilt) + np.sin(phi) * math.sin(tilt)
        if depth.min() <= 0:
            continue
        x = np.cos(phi) * math.sin(lon) / depth
        edge_y = (np.sin(phi) * math.cos(tilt) - np.cos(phi) * math.cos(lon) * math.sin(tilt)) / depth
        if max(x.max(), np.abs(edge_y).max()) <= reach:
            return count
    raise ConfigError("views are too narrow for a ring layout; use a larger view size or field of view")


def _sap(view_size: int, fov: float | None) -> Layout:
    """SAP's scan: columns of pitches, in its column-first zigzag order (`remotesam.sphere.scan`).

    SAP's intrinsics are corner-aligned, f = (L - 1) / (2 tan(β/2)): the centre of pixel 0 lies on the border
    of the field of view. With pixel edges at integers that is nothing but a slightly shorter focal length.
    """
    focal = (view_size - 1) / (2 * math.tan(math.radians((SAP_FOV if fov is None else fov) / 2)))
    columns = round(360 / SAP_YAW_STEP)
    cells = [
        (-180 + SAP_YAW_STEP * (column + 0.5), lat)
        for column in range(columns)
        for lat in (SAP_PITCHES if column % 2 == 0 else SAP_PITCHES[::-1])
    ]
    return Layout(
        "sap", tuple(View(index, lon, lat, view_size, focal) for index, (lon, lat) in enumerate(cells)), 0.0
    )


def _cube(view_size: int, fov: float | None, pad: float) -> Layout:
    """Six faces; each keeps `pad` around its own 90°, or fills `fov` when that is given (at least 90°)."""
    half = 1 / (1 - 2 * pad) if fov is None else math.tan(math.radians(fov / 2))
    if half < 1 - 1e-12:
        raise ConfigError(f"cube faces of {fov}° leave gaps; use a field of view of at least 90°")
    focal = view_size / 2 / half
    # The polar faces start at lon 45 so that their edges run along those of the side faces.
    centres = [(45.0, 90.0), (-135.0, 0.0), (-45.0, 0.0), (45.0, 0.0), (135.0, 0.0), (45.0, -90.0)]
    faces = tuple(View(index, lon, lat, view_size, focal) for index, (lon, lat) in enumerate(centres))
    return Layout("cube", faces, view_size / 2 - focal)
