"""How results reach a person or a program: tables, JSON and remarks."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from automl.candidate import Candidate, candidate_to_json

PIPE_WIDTH = 140  # columns where the output is not a terminal


def to_plain(value: Any) -> Any:
    """Return dataclasses, candidates, times and paths as JSON values; a number that is not finite becomes null."""
    if isinstance(value, Candidate):
        return candidate_to_json(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    print_text(json.dumps(to_plain(value), indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Print plain text on standard output, as it is."""
    _console().print(Text(text), soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; columns that hold numbers only are set right."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(_is_number(str(row[index])) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _console().print(table)


def remark(text: str, quiet: bool = False) -> None:
    """Print something worth knowing on standard error."""
    if not quiet:
        _console(stderr=True).print(Text(text), soft_wrap=True)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def _is_number(text: str) -> bool:
    return text in ("", "–") or text.lstrip("-+×")[:1].isdigit()
