"""Attributes of whole segments: every rule of merging against plain Python, in any steps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.attributes import ATTRIBUTES, Attribute, Merging, Shown, UnitSegments, shown_in, unit_columns
from remotesam.errors import StoreError
from remotesam.merge.attributes import Attributes

PIECE = st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(0, 100), st.booleans())
"""Final id, owned pixels, a measured value, a truth value."""


@pytest.fixture(autouse=True)
def one_of_each_rule():
    """The table with one attribute of each rule over integers."""
    mine = [
        Attribute(name=f"of_{rule.name}", type=pa.int32(), help="", merging=rule, shown=Shown.POLYGONS)
        for rule in (Merging.SUM, Merging.MIN, Merging.MAX, Merging.OF_LARGEST)
    ]
    ATTRIBUTES.update((attribute.name, attribute) for attribute in mine)
    yield
    for attribute in mine:
        del ATTRIBUTES[attribute.name]


def table(rows: list[tuple[int, int, int, bool]]) -> pa.Table:
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    measured = [name for name in ATTRIBUTES if name.startswith("of_")]
    return pa.table(
        {
            "core_area": columns[1],
            "score": (columns[2] / 100).astype(np.float32),
            "stability": (columns[2] / 200).astype(np.float32),
            "pass": columns[2].astype(np.int16),
            "touches_seam": columns[3].astype(bool),
            **{name: columns[2].astype(np.int32) for name in measured},
        }
    )


def by_hand(units: list[list[tuple[int, int, int, bool]]], key: int) -> dict[str, float]:
    pieces = [(unit, *row) for unit, rows in enumerate(units) for row in rows if row[0] == key and row[1] > 0]
    owned = sum(piece[2] for piece in pieces)
    values = [piece[3] for piece in pieces]
    largest = max(pieces, key=lambda piece: piece[2])[3]
    return {
        "area_px": owned,
        "score": sum(np.float32(p[3] / 100).item() * p[2] for p in pieces) / owned,
        "stability": sum(np.float32(p[3] / 200).item() * p[2] for p in pieces) / owned,
        "pass": largest,
        "tile": pieces[0][0],
        "tiles": len({piece[0] for piece in pieces}),
        "touches_seam": any(piece[4] for piece in pieces),
        "scale": 300,
        "of_SUM": sum(values),
        "of_MIN": min(values),
        "of_MAX": max(values),
        "of_OF_LARGEST": largest,
    }


@settings(deadline=None)
@given(st.lists(st.lists(PIECE, max_size=6), max_size=5), st.sets(st.integers(1, 5)))
def test_every_rule_merges_as_by_hand_whichever_ids_are_taken_first(units, early):
    gathered = Attributes(Shown.POLYGONS, {"scale": 300})
    for unit, rows in enumerate(units):
        gathered.add(unit, np.array([row[0] for row in rows], np.int64), table(rows))
    known = {row[0] for rows in units for row in rows if row[0] > 0 and row[1] > 0}
    assert gathered.ids().tolist() == sorted(known)
    for chosen in (sorted(known & early), sorted(known - early)):
        found = gathered.take(np.array(chosen, np.int64))
        for place, key in enumerate(chosen):
            expected = by_hand(units, key)
            assert set(found) == set(expected)
            for name, value in expected.items():
                assert found[name][place] == pytest.approx(value, rel=1e-6), (key, name)
        for attribute in shown_in(Shown.POLYGONS):
            if attribute.merging is not None:
                assert found[attribute.name].dtype == attribute.dtype
    assert len(gathered.ids()) == 0


def test_an_id_that_never_came_is_an_error_that_names_it():
    gathered = Attributes(Shown.POLYGONS, {"scale": 300})
    gathered.add(0, np.array([3]), table([(3, 5, 50, True)]))
    with pytest.raises(StoreError, match="segment 4 "):
        gathered.take(np.array([3, 4]))


def test_units_measure_all_that_is_said_to_come_from_them():
    measured = {name for name, attribute in ATTRIBUTES.items() if attribute.of_unit is not None}
    single = {
        name: np.ones(1, bool if name == "touches_seam" else np.int64)
        for name in UnitSegments.__dataclass_fields__
    }
    shapes = {"image": np.zeros((1, 1, 3), np.uint8), "labels": np.ones((1, 1), np.int32)}
    columns = unit_columns(UnitSegments(**{**single, **shapes, "prompt": np.array([[3.0, 4.0]])}))
    assert set(columns) == measured
    assert (columns["x"].to_pylist(), columns["y"].to_pylist()) == ([3.0], [4.0])
    for name, column in columns.items():
        assert column.type == ATTRIBUTES[name].type
