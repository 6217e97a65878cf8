"""Stretch, validity, palettes and block means against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remotesam.errors import ConfigError
from remotesam.raster.pixels import data_pixels, expand_palette, shrink, to_rgb
from remotesam.raster.stretch import (
    AUTO_PERCENTILES,
    NO_CONTRAST,
    Stretch,
    StretchSpec,
    fit_stretch,
    parse_stretch,
)

UINT8, UINT16 = np.dtype("uint8"), np.dtype("uint16")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("auto", StretchSpec("auto")),
        (" None ", StretchSpec("none")),
        ("0,3000", StretchSpec("range", 0, 3000)),
        ("-1.5, 2e3", StretchSpec("range", -1.5, 2000)),
        ("p1,p99.5", StretchSpec("percentiles", 1, 99.5)),
    ],
)
def test_stretch_texts(text: str, spec: StretchSpec) -> None:
    assert parse_stretch(text) == spec


@pytest.mark.parametrize(
    "text", ["", "min-max", "1", "1,2,3", "p2,98", "5,5", "9,1", "p2,p101", "p-1,p50", "0,inf", "nan,1"]
)
def test_wrong_stretch_texts_are_one_line_errors(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_stretch(text)
    assert "\n" not in str(raised.value)
    assert repr(text) in str(raised.value)


@given(
    dtype=st.sampled_from(
        ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
    ),
    limits=st.tuples(st.integers(-40_000, 70_000), st.integers(1, 70_000)),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_type_follows_the_linear_formula(dtype: str, limits: tuple[int, int], seed: int) -> None:
    low, high = limits[0], limits[0] + limits[1]
    kind = np.dtype(dtype)
    bounds = np.iinfo(kind) if kind.kind in "iu" else np.finfo(np.float32)
    smallest, largest = max(int(bounds.min), -100_000), min(int(bounds.max), 100_000)
    values = np.random.default_rng(seed).integers(smallest, largest + 1, (1, 20, 30)).astype(kind)
    result = Stretch((low,), (high,)).apply(values)[0]
    exact = np.clip((values[0].astype(np.float64) - low) / (high - low) * 255, 0, 255)
    assert result.dtype == np.uint8
    assert np.abs(result - exact).max() <= 0.5 + 1e-3


def test_bands_have_their_own_limits_and_order_is_kept() -> None:
    values = np.array([[[0, 80, 100]]] * 3, np.uint16)
    result = Stretch((0, 50, 0), (100, 100, 400)).apply(values)
    assert result.tolist() == [[[0, 204, 255]], [[0, 153, 255]], [[0, 51, 64]]]
    with pytest.raises(ValueError, match="2 bands"):
        Stretch((0,), (1,)).apply(values[:2])


def test_nan_and_infinity_do_not_leak() -> None:
    values = np.array([[[np.nan, -np.inf, np.inf, 0.5]]], np.float32)
    assert Stretch((0.0,), (1.0,)).apply(values).tolist() == [[[0, 0, 255, 128]]]


def test_a_stretch_leaves_its_input_alone() -> None:
    values = np.linspace(0, 9, 50).reshape(1, 5, 10)
    before = values.copy()
    Stretch((1.0,), (8.0,)).apply(values)
    assert np.array_equal(values, before)


def test_auto_leaves_uint8_alone_and_stretches_the_rest_by_percentiles() -> None:
    sample = np.arange(1001, dtype=np.uint16)[None]
    auto = parse_stretch("auto")
    assert fit_stretch(auto, UINT8, sample, 3) == Stretch((0, 0, 0), (255, 255, 255))
    low, high = AUTO_PERCENTILES
    assert fit_stretch(auto, UINT16, sample, 1) == Stretch((low * 10,), (high * 10,))
    assert fit_stretch(parse_stretch("p0,p100"), UINT8, sample, 1) == Stretch((0,), (1000,))
    assert fit_stretch(parse_stretch("5,7"), UINT16, sample, 1) == Stretch((5,), (7,))


def test_rare_values_survive_percentiles_that_coincide() -> None:
    sample = np.zeros((1, 10_000))
    sample[0, :20] = 4.0
    assert fit_stretch(parse_stretch("auto"), np.dtype("float64"), sample, 1) == Stretch((0,), (4,))


def test_constant_and_empty_bands_are_grey() -> None:
    for sample in (np.full((1, 100), 7, np.uint16), np.empty((1, 0), np.uint16)):
        stretch = fit_stretch(parse_stretch("auto"), UINT16, sample, 1)
        assert (stretch.apply(np.full((1, 2, 2), 7, np.uint16)) == NO_CONTRAST).all()


def test_a_pixel_is_empty_only_if_all_bands_are() -> None:
    values = np.zeros((3, 1, 3), np.uint8)
    values[2, 0, 1] = 9
    values[:, 0, 2] = 5
    assert data_pixels(values, (0, 0, 0)).tolist() == [[False, True, True]]
    assert data_pixels(values, (0, 0, 9)).tolist() == [[True, False, True]]
    assert data_pixels(values, (0, 0, None)).all()
    assert data_pixels(values, (-9999, -9999, -9999)).all()
    assert data_pixels(values, (0.5, 0.5, 0.5)).all()


def test_one_nan_band_is_enough_to_be_empty() -> None:
    values = np.ones((2, 1, 3), np.float32)
    values[0, 0, 0], values[1, 0, 1] = np.nan, np.inf
    assert data_pixels(values, (float("nan"), float("nan"))).tolist() == [[False, False, True]]
    assert data_pixels(values, (None, None)).tolist() == [[False, False, True]]


def test_nodata_of_wide_and_narrow_types_is_exact() -> None:
    big = 2**62
    values = np.array([[[big, big + 1]]], np.int64)
    assert data_pixels(values, (float(big),)).tolist() == [[False, True]]
    lowest = float(np.finfo(np.float32).min)
    assert data_pixels(np.array([[[lowest, 0]]], np.float32), (lowest,)).tolist() == [[False, True]]


def test_rgb_is_black_outside_and_grey_is_repeated() -> None:
    planes = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) + 1
    valid = np.array([[True, False], [True, True]])
    image = to_rgb(planes, valid)
    assert image.shape == (2, 2, 3)
    assert image[1, 0].tolist() == [3, 7, 11]
    assert image[0, 1].tolist() == [0, 0, 0]
    assert to_rgb(planes[:1], valid)[1, 1].tolist() == [4, 4, 4]


def test_palette_colours_and_transparent_entries() -> None:
    palette = np.array([[10, 20, 30, 255], [40, 50, 60, 0]], np.uint8)
    colours, opaque = expand_palette(np.array([[0, 1, 9]], np.uint8), palette)
    assert colours[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60], [40, 50, 60]]
    assert opaque.tolist() == [[True, False, False]]


@given(
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    factor=st.integers(1, 5),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_blocks_are_the_mean_of_their_valid_pixels(
    height: int, width: int, factor: int, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 120, (2, height, width)).astype(dtype)
    valid = rng.random((height, width)) < 0.6
    if dtype == "float32":
        values[:, ~valid] = np.nan
    small, kept = shrink(values, valid, factor)
    assert small.dtype == values.dtype
    for row, col in np.ndindex(kept.shape):
        block = np.s_[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
        share = valid[block].mean()
        assert kept[row, col] == (share >= 0.5)
        for band in range(2):
            mean = values[band][block][valid[block]].astype(float).mean() if share else 0
            assert abs(float(small[band, row, col]) - mean) <= (1e-4 if dtype == "float32" else 0.5)
