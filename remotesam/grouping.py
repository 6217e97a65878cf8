"""Rows with equal keys: where their runs begin, and sums over them; arrays only.

Label maps have far fewer runs than pixels, and sorting run heads costs a fraction of `np.unique` on pixels.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=np.generic)
Value = TypeVar("Value", bound=np.generic)


def first_of_run(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) True where a row's keys differ from those of the row before it: the first of each run.

    Args:
        *keys: one or more (n,) vectors; a run is as long as none of them changes. n may be 0.
    """
    first = np.ones(len(keys[0]), np.bool_)
    np.not_equal(keys[0][1:], keys[0][:-1], out=first[1:])
    for key in keys[1:]:
        first[1:] |= key[1:] != key[:-1]
    return first


def last_of_run(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) True in the last row of each run; see `first_of_run`."""
    last = np.ones(len(keys[0]), np.bool_)
    last[:-1] = first_of_run(*keys)[1:]
    return last


def run_starts(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """Positions of the first row of each run, ascending, as `np.add.reduceat` takes them."""
    return np.flatnonzero(first_of_run(*keys))


def group_sum(keys: NDArray[Key], values: NDArray[Value]) -> tuple[NDArray[Key], NDArray[Value]]:
    """Sum the values of equal keys.

    Args:
        keys: (n,) in any order.
        values: (n,) or (n, k).

    Returns:
        (m,) distinct keys, ascending, and (m,) or (m, k) sums in the dtype of `values`.
    """
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = run_starts(keys)
    return keys[starts], np.add.reduceat(values, starts, axis=0)
