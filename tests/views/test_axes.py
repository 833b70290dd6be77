"""Ticks of shares."""

from __future__ import annotations

import pytest

from automl.views.axes import axis, share_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.93, 1.01, [0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0]), (0.0, 1.05, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])],
)
def test_share_ticks_are_round_and_end_at_one(low: float, high: float, ticks: list[float]) -> None:
    assert share_ticks(low, high) == ticks


def test_axis_of_accuracy_has_no_tick_above_one() -> None:
    assert max(axis("accuracy", 0.9, 1.02)["tickvals"]) == 1.0
