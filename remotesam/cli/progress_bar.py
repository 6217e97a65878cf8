"""A run for people's eyes: a progress bar for terminals, log lines for everything else."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from remotesam.events import duration

LOG_EVERY_S = 15.0
"""Seconds between progress lines where there is no terminal to draw a bar on."""


class Bar:
    """Shows a run on standard error: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            expand=True,
        )
        self._task: Any = None
        self._title = ""
        self._logged = 0.0
        self._rates: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Take one event of a run."""
        if event == "stage":
            self._stage(fields["title"], fields.get("total"))
        elif event in ("tile", "step"):
            self._advance(fields)
        elif event == "cluster":
            workers = f"{fields['workers']} worker" + "s" * (fields["workers"] != 1)
            self._console.print(f"{workers}, dashboard: {fields['dashboard']}", soft_wrap=True)
        elif event == "warning":
            self._console.print(f"[yellow]warning:[/] {fields['message']}", soft_wrap=True)

    def _stage(self, title: str, total: int | None) -> None:
        self._title, self._logged = title, 0.0
        if self._console.is_terminal:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(self._title, total=total, note="")
        elif total:
            self._console.print(f"{self._title}: {total}")

    def _advance(self, fields: dict[str, Any]) -> None:
        done, total, left = fields["done"], fields["total"], fields.get("eta_s")
        note = "" if left is None else f"{duration(left)} left"
        if fields.get("coverage") is not None:
            note += f"  coverage {fields['coverage']:.1%}"
        if fields.get("worker") and fields.get("worker_rate"):
            self._rates[fields["worker"]] = fields["worker_rate"]
            slowest, fastest = min(self._rates.values()), max(self._rates.values())
            note += f"  {len(self._rates)} workers at {slowest:.2g}–{fastest:.2g} tiles/s"
        if self._console.is_terminal:
            self._progress.update(self._task, completed=done, total=total, note=note)
        elif done == total or time.monotonic() - self._logged > LOG_EVERY_S:
            self._logged = time.monotonic()
            self._console.print(f"{self._title}: {done}/{total}  {note}".rstrip())
