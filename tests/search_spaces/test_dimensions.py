"""Pruning, quantization and training dimensions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.pruning import describe_shapes, kept_width, width_faults
from search_spaces.quantization import pair_name, parse_pair, searchable_pairs
from search_spaces.training import range_levels, training_choices
from tests.search_spaces.joint_spaces import study_space


@pytest.mark.parametrize(
    ("width", "ratio", "multiple", "kept"),
    [
        (64, 0.25, 16, 48),
        (32, 0.25, 16, 32),  # 24 channels are half-way: up
        (32, 0.75, 16, 16),
        (16, 0.75, 16, 16),  # never below one multiple
        (96, 0.25, 16, 80),  # 72 channels are half-way: up
        (10, 0.3, 1, 7),  # 7 exactly, not 6.999...
        (48, 0.0, 16, 48),
    ],
)
def test_kept_width_rounds_half_up_to_the_multiple(width: int, ratio: float, multiple: int, kept: int) -> None:
    assert kept_width(width, ratio, multiple) == kept


@given(st.integers(1, 32), st.integers(1, 32), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_kept_width_is_a_multiple_between_one_and_all(count: int, multiple: int, ratio: float) -> None:
    kept = kept_width(count * multiple, ratio, multiple)
    assert multiple <= kept <= count * multiple
    assert kept % multiple == 0


def test_width_faults_name_each_width_and_a_way_out() -> None:
    faults = [str(fault) for fault in width_faults([16, 24, 40], 16)]
    assert len(faults) == 2
    assert "multiples of 16" in faults[0]
    assert "but got 24. Take 32" in faults[0]


def test_describe_shapes_follows_a_narrowed_space() -> None:
    space = study_space(space={"widths": [16, 32], "allow": {"width": [32], "prune_*": [0.0, 0.5]}})
    shapes = [(entry.width, entry.stage, entry.kept_widths) for entry in describe_shapes(space, 16)]
    assert shapes == [(32, 0, (32, 16)), (32, 1, (64, 32)), (32, 2, (128, 64))]


@pytest.mark.parametrize("pair", [(32, 32), (8, 8), (4, 32), (16, 16)])
def test_pair_name_survives_parsing(pair: tuple[int, int]) -> None:
    assert parse_pair(pair_name(*pair)) == pair


def test_searchable_pairs_start_with_most_bits_and_drop_other_widths() -> None:
    assert searchable_pairs([(4, 32), (8, 8), (32, 32), (8, 8), (2, 32)]) == ("w32a32", "w8a8", "w4a32")


def test_range_levels_include_both_ends_and_rise() -> None:
    levels = range_levels(1e-3, 8e-3, log=True, levels=4)
    assert levels == [0.001, 0.002, 0.004, 0.008]


def test_training_choices_round_whole_numbers_once_each() -> None:
    entries = {"epochs": {"low": 1, "high": 3, "log": False, "levels": 5}, "batch_size": [64, 32], "dropout": 0}
    assert training_choices(entries) == {"epochs": (1, 2, 3), "batch_size": (32, 64), "dropout": (0.0,)}
