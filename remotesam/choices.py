"""What settings choose by name: merge strategies and outline styles, a table each.

The settings stand on a low floor and offer the names; the work is done on higher ones. So an entry says as
`module:function` where its work is done, as the table of commands does, and that is imported when first used.
A further entry is one line here, or `STRATEGIES[mine.name] = mine` before the settings are made.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a setting."""

    name: str
    """What the user writes."""
    help: str
    """What it does, as a phrase whose subject is the name."""
    function: str
    """Where it is done, as `module:function`."""

    def load(self) -> Callable[..., Any]:
        """The function."""
        function: Callable[..., Any] = pkgutil.resolve_name(self.function)
        return function


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeStrategy(Choice):
    """How segments of neighbouring units are found to be one object.

    The function is a `remotesam.merge.joins.Rule`.
    """

    evidence: frozenset[Literal["strip", "contacts"]]
    """What the rule looks at: where both have segmented (strip), or along the border of what they own."""
    seamlines: bool = False
    """True = units then hand over along borders of segments; False = straight seams."""
    views: bool = False
    """True = it serves for the views of a panorama too: it can do without contacts."""
    without_padding: str | None = None
    """Strategy that takes its place where there is no strip to look at; None = it needs none."""


STRATEGIES: dict[str, MergeStrategy] = {
    strategy.name: strategy
    for strategy in (
        MergeStrategy(
            name="overlap",
            help="joins what neighbours segmented alike where both of them see",
            function="remotesam.merge.joins:join_overlap",
            evidence=frozenset({"strip", "contacts"}),
            seamlines=True,
            views=True,
            # The only contact strategy that does not chain neighbours.
            without_padding="mutual-best",
        ),
        MergeStrategy(
            name="best-match",
            help="joins each segment with the one it shares the longest border with",
            function="remotesam.merge.joins:join_best_match",
            evidence=frozenset({"contacts"}),
        ),
        MergeStrategy(
            name="mutual-best",
            help="does so where both have their longest border with each other",
            function="remotesam.merge.joins:join_mutual_best",
            evidence=frozenset({"contacts"}),
        ),
        MergeStrategy(
            name="min-contact",
            help="joins what shares a border of min_contact pixels",
            function="remotesam.merge.joins:join_min_contact",
            evidence=frozenset({"contacts"}),
        ),
        MergeStrategy(
            name="naive",
            help="joins what touches",
            function="remotesam.merge.joins:join_naive",
            evidence=frozenset({"contacts"}),
        ),
        MergeStrategy(
            name="none",
            help="leaves segments apart",
            function="remotesam.merge.joins:join_nothing",
            evidence=frozenset(),
            views=True,
        ),
    )
}
"""The merge strategies by name. All but `overlap` and `none` are those of Remote SAMsing (arXiv 2605.00256);
they stay what they are there, straight seams included. `docs/algorithms.md#contact-strategies`."""


OUTLINES: dict[str, Choice] = {
    style.name: style
    for style in (
        Choice(
            name="shared",
            help="keeps neighbours on one border",
            function="remotesam.vector.outline_styles:shared",
        ),
        Choice(
            name="smooth",
            help="rounds outlines off, each on its own, so that neighbours may part or overlap",
            function="remotesam.vector.outline_styles:smooth",
        ),
        Choice(
            name="regular",
            help="gives outlines right angles, each on its own",
            function="remotesam.vector.outline_styles:regularize",
        ),
    )
}
"""The outline styles by name; each function takes and returns (n,) geometries in raster px."""
