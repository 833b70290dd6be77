"""Goals beside the figures that were got: a table, a JSON file, an exit code."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Goal:
    """What must hold, what was measured, and whether it was met; None where this run cannot judge it."""

    name: str
    wanted: str
    got: str
    met: bool | None


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="about a minute; goals that need the full size are not judged"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    return parser


def report(goals: list[Goal], figures: dict[str, object], to: Path | None) -> int:
    """Print the table, write the file, and return the exit code: 1 where a goal was missed."""
    words = {True: "met", False: "MISSED", None: "not judged"}
    rows = [("goal", "wanted", "got", ""), *((g.name, g.wanted, g.got, words[g.met]) for g in goals)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if to is not None:
        to.write_text(json.dumps({"goals": [asdict(goal) for goal in goals], "figures": figures}, indent=1))
    return int(any(goal.met is False for goal in goals))
