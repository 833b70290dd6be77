"""Tiny labelled texts for tests: three categories that a word gives away."""

from __future__ import annotations

import csv
from pathlib import Path

SUBJECTS = ("my card", "the transfer", "a payment", "cash", "this order", "one refund", "our account", "her phone")
ENDINGS = {"late": "has not arrived yet", "lost": "was stolen from me", "cost": "has a fee that is too high"}
Row = tuple[str, str]


def rows(count: int = 8, opening: str = "Help,") -> list[Row]:
    """Return `count` different texts of each category, the categories taking turns."""
    return [
        (f"{opening} {subject} {ending}!", name) for subject in SUBJECTS[:count] for name, ending in ENDINGS.items()
    ]


def write_csv(path: Path, lines: list[Row], header: tuple[str, ...] = ("text", "category")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def write_texts(folder: Path, train: list[Row] | None = None, test: list[Row] | None = None) -> Path:
    """Write train.csv and test.csv into the folder and return it."""
    write_csv(folder / "train.csv", rows() if train is None else train)
    write_csv(folder / "test.csv", rows(3, "Hello,") if test is None else test)
    return folder
