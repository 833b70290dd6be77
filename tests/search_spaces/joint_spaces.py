"""Spaces and strategies for the tests of the joint space."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from automl.space import Point, SearchSpace
from search_spaces.joint import space_from_spec

FORMATS = ((32, 32), (8, 8), (4, 32))


def plain_spec(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the plain values of a study that decide its space, with keys of some parts changed."""
    spec: dict[str, Any] = {
        "space": {"name": "darts_cells", "widths": [16, 32, 48], "cells": [2, 3, 5], "fix": {}, "allow": {}},
        "target": {"channel_multiple": 16},
        "training": {
            "optimizer": "adamw",
            "learning_rate": {"low": 1e-3, "high": 8e-3, "log": True, "levels": 5},
            "weight_decay": 5e-4,
            "batch_size": [32, 64],
            "epochs": 10,
            "dropout": 0.0,
            "label_smoothing": 0.0,
            "clip_norm": 5.0,
        },
        "distillation": {"alphas": [1.0, 0.7, 0.4], "temperatures": [1.0, 2.0, 4.0, 8.0]},
        "search": {"enqueue": []},
    }
    return {key: {**value, **changes.get(key, {})} for key, value in spec.items()}


def study_space(**changes: dict[str, Any]) -> SearchSpace:
    return space_from_spec(plain_spec(**changes), FORMATS)


def points(space: SearchSpace) -> st.SearchStrategy[Point]:
    return st.fixed_dictionaries(
        {dimension.name: st.integers(0, len(dimension.choices) - 1) for dimension in space.dimensions}
    )
