"""Runs and sums of groups against itertools and a dictionary."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from remotesam.grouping import first_of_run, group_sum, last_of_run, run_starts

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30)


@given(rows)
def test_runs_are_those_of_groupby_also_over_several_keys(pairs):
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    lengths = [len(list(run)) for _, run in groupby(pairs)]
    starts = run_starts(one, other)
    assert np.diff(starts, append=len(pairs)).tolist() == lengths
    assert np.flatnonzero(first_of_run(one, other)).tolist() == starts.tolist()
    assert np.flatnonzero(last_of_run(one, other)).tolist() == (starts + lengths - 1).tolist()
    assert run_starts(one).tolist() == [k for k in range(len(one)) if k == 0 or one[k] != one[k - 1]]


@given(rows, st.sampled_from([np.uint64, np.int64]))
def test_sums_are_those_of_a_dictionary_and_keep_the_dtype(pairs, dtype):
    keys, values = np.array(pairs, dtype).reshape(-1, 2).T
    sums = {}
    for key, value in pairs:
        sums[key] = sums.get(key, 0) + value
    found, total = group_sum(keys, values)
    assert dict(zip(found.tolist(), total.tolist(), strict=True)) == sums
    assert found.tolist() == sorted(sums)
    assert found.dtype == total.dtype == dtype


@given(arrays(np.float64, st.tuples(st.integers(0, 20), st.just(3)), elements=st.integers(0, 9)))
def test_rows_are_summed_column_by_column(values):
    keys = values[:, 0].astype(np.int64)
    found, total = group_sum(keys, values)
    assert total.shape == (len(np.unique(keys)), 3)
    for key, row in zip(found, total, strict=True):
        assert row.tolist() == values[keys == key].sum(axis=0).tolist()
