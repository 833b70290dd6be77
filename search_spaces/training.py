"""Training: every hyperparameter is one value, or a range that becomes a dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from automl.candidate import TrainingPlan
from automl.space import Choice, Dimension

WHOLE = ("batch_size", "epochs")
REAL = ("learning_rate", "weight_decay", "dropout", "label_smoothing", "clip_norm")
HYPERPARAMETERS = (*REAL, *WHOLE)
DIGITS = 6  # significant ones of a level, so that a level reads like a number that a person would write

Levels = Mapping[str, tuple[Choice, ...]]


def training_choices(entries: Mapping[str, Any]) -> dict[str, tuple[Choice, ...]]:
    """Return the choices of each hyperparameter, rising and without repeats.

    Args:
        entries: for each name in `HYPERPARAMETERS` a number, a list of numbers, or a range
            `{"low", "high", "log", "levels"}`; other names are left out.
    """
    return {name: _choices(name, entries[name]) for name in HYPERPARAMETERS if name in entries}


def _choices(name: str, entry: Any) -> tuple[Choice, ...]:
    if isinstance(entry, Mapping):
        values = range_levels(entry["low"], entry["high"], log=entry["log"], levels=entry["levels"])
    elif isinstance(entry, Sequence):
        values = [float(value) for value in entry]
    else:
        values = [float(entry)]
    whole = name in WHOLE
    return tuple(sorted({round(value) if whole else value for value in values}))


def range_levels(low: float, high: float, *, log: bool, levels: int) -> list[float]:
    """Return `levels` values from `low` to `high`, both included, evenly spaced (in the logarithm where `log`)."""
    inner = np.geomspace(low, high, levels) if log else np.linspace(low, high, levels)
    rounded = [float(f"{value:.{DIGITS}g}") for value in inner]
    return [low, *rounded[1:-1], high]


def training_dimensions(choices: Levels) -> tuple[Dimension, ...]:
    """Return a dimension for every hyperparameter with more than one choice."""
    return tuple(
        Dimension(name, "training", choices[name], ordered=True)
        for name in HYPERPARAMETERS
        if len(choices[name]) > 1
    )  # fmt: skip


def decode_training(choices: Mapping[str, Choice], constants: Mapping[str, Choice], optimizer: str) -> TrainingPlan:
    """Return the plan: what is chosen where there is a dimension, else the constant."""
    value = {**constants, **choices}
    return TrainingPlan(
        optimizer=optimizer,
        learning_rate=float(value["learning_rate"]),
        weight_decay=float(value["weight_decay"]),
        batch_size=int(value["batch_size"]),
        epochs=int(value["epochs"]),
        dropout=float(value["dropout"]),
        label_smoothing=float(value["label_smoothing"]),
        clip_norm=float(value["clip_norm"]),
    )
