"""The clicks of one object, with their undo; coordinates are (x, y) in the raster's CRS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Click:
    """One click.

    Attributes:
        x: East of the click.
        y: North of the click.
        positive: True = belongs to the object, False = does not.
    """

    x: float
    y: float
    positive: bool


class Prompts:
    """Clicks and at most one box (west, south, east, north), in the order they were made."""

    def __init__(self) -> None:
        """Start without prompts."""
        self._steps: list[object] = []

    def __bool__(self) -> bool:
        """True when there is something to predict from."""
        return bool(self._steps)

    @property
    def clicks(self) -> list[Click]:
        """All clicks, oldest first."""
        return [step for step in self._steps if isinstance(step, Click)]

    @property
    def box(self) -> Optional[Box]:
        """The newest box."""
        return next((step for step in reversed(self._steps) if isinstance(step, tuple)), None)

    @property
    def usable(self) -> bool:
        """True when a model can answer: a box, or at least one click that belongs to the object."""
        return self.box is not None or any(click.positive for click in self.clicks)

    def add_click(self, x: float, y: float, positive: bool) -> None:
        """Add a click."""
        self._steps.append(Click(x, y, positive))

    def add_box(self, box: Box) -> None:
        """Add a box; it takes the place of an older one until it is undone."""
        self._steps.append(box)

    def undo(self) -> None:
        """Take the last step back; without steps nothing happens."""
        if self._steps:
            self._steps.pop()

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()

    def request(self) -> dict[str, Any]:
        """Fields of the engine's `predict` request."""
        return {
            "points": [[click.x, click.y] for click in self.clicks],
            "labels": [int(click.positive) for click in self.clicks],
            "box": list(self.box) if self.box else None,
        }
