"""A recorded table in memory: choices as indices, figures as columns of floats, read from .npz, CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from automl.errors import Fault, InputError, input_error
from automl.search.replaying.description import ChoiceColumn, Description, known_description, read_description
from automl.space import Choice

Array = npt.NDArray[np.float64]
FORMATS = (".npz", ".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class TableDimension:
    """One choice: its values in order."""

    name: str
    values: tuple[Choice, ...]
    ordered: bool


@dataclass(frozen=True)
class Table:
    """A whole table of `n` rows: `rows` holds the index of each chosen value (`n x dimensions`)."""

    description: Description
    dimensions: tuple[TableDimension, ...]
    rows: npt.NDArray[np.int64]
    figures: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.rows)

    def figure(self, column: str) -> Array:
        """Return a column of figures."""
        return self.figures[column]


def open_table(path: Path, description: Path | None = None) -> Table:
    """Return the table in a file.

    Args:
        path: an .npz, .csv, .csv.gz or .parquet file.
        description: of its columns; None takes a .json file of the same name beside it, or knows the columns.

    Raises:
        InputError: naming every missing column, or what cannot be read.
    """
    columns = _read(path)
    said = _beside(path) if description is None else description
    found = known_description(list(columns)) if said is None else read_description(said)
    if found is None:
        remedy = f"Write {_described_by(path).name} beside it, see docs/replay.md."
        raise input_error(str(path), "a table whose columns are known or described", ", ".join(columns), remedy)
    missing = sorted(found.columns() - set(columns))
    if missing:
        has = ", ".join(columns)
        raise InputError([Fault(f"{path}: column {name}", "in the table", f"only {has}") for name in missing])
    return _table(path, found, columns)


def _described_by(path: Path) -> Path:
    return path.with_name(path.name.partition(".")[0] + ".json")


def _beside(path: Path) -> Path | None:
    beside = _described_by(path)
    return beside if beside.is_file() else None


def _read(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    readers = {".npz": _read_npz, ".csv": _read_csv, ".csv.gz": _read_csv, ".parquet": _read_parquet}
    suffix = next((suffix for suffix in readers if path.name.endswith(suffix)), None)
    if suffix is None:
        raise input_error(str(path), f"a table that ends in {', '.join(FORMATS)}", path.name)
    try:
        columns = readers[suffix](path)
    except FileNotFoundError:
        raise input_error(str(path), "a file", "no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, csv.Error, EOFError) as error:
        raise input_error(str(path), f"a readable {suffix} file", error) from None
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or min(lengths.values()) == 0 or len(set(lengths.values())) > 1:
        raise input_error(str(path), "columns of one length, at least one row", lengths or "nothing")
    return columns


def _read_npz(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_csv(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8", newline="") as file
    ):
        reader = csv.reader(file)
        head = next(reader, [])
        lines = [line for line in reader if line]
    if any(len(line) != len(head) for line in lines):
        raise ValueError("lines of different lengths")
    return {name: np.array([line[place] for line in lines]) for place, name in enumerate(head)}


def _read_parquet(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise input_error(str(path), "a table that can be read here", "Parquet without pyarrow",
                          "pip install pyarrow, or save it as .npz or .csv.") from None  # fmt: skip
    read = pyarrow.parquet.read_table(path)
    return {name: np.asarray(read[name].to_pylist()) for name in read.column_names}


def _table(path: Path, description: Description, columns: Mapping[str, npt.NDArray[Any]]) -> Table:
    parts = [part for choice in description.choices for part in _parts(path, choice, columns[choice.column])]
    figures: dict[str, Array] = {}
    faults: list[Fault] = []
    for name in sorted(description.columns() - {choice.column for choice in description.choices}):
        try:
            figures[name] = _numbers(columns[name])
        except ValueError as error:
            faults.append(Fault(f"{path}: column {name}", "numbers", str(error)))
    for each in description.objectives:
        if each.column in figures and each.logarithmic and np.nanmin(figures[each.column]) <= 0:
            got = f"{np.nanmin(figures[each.column]):g}"
            faults.append(Fault(f"{path}: column {each.column}", f"positive, as a {each.kind}", got))
    if faults:
        raise InputError(faults)
    rows = np.stack([places for _, places in parts], axis=1).astype(np.int64)
    return Table(description, tuple(dimension for dimension, _ in parts), rows, figures)


def _numbers(column: npt.NDArray[Any]) -> Array:
    if column.ndim != 1:
        raise ValueError(f"an array of shape {column.shape}")
    return column.astype(np.float64)


def _parts(
    path: Path, choice: ChoiceColumn, column: npt.NDArray[Any]
) -> list[tuple[TableDimension, npt.NDArray[np.int64]]]:
    if choice.split:
        texts = [str(value) for value in column]
        if len({len(text) for text in texts}) > 1:
            raise input_error(f"{path}: column {choice.column}", "text of one length, to be split", "several lengths")
        column = np.array([list(text) for text in texts])
    if column.ndim == 1:
        return [_dimension(choice.column, column, choice.ordered)]
    table = column.reshape(len(column), -1)
    return [_dimension(f"{choice.column}_{place}", table[:, place], choice.ordered) for place in range(table.shape[1])]


def _dimension(name: str, column: npt.NDArray[Any], ordered: bool) -> tuple[TableDimension, npt.NDArray[np.int64]]:
    """Return the dimension of a column; text that is numbers throughout is put in the order of numbers."""
    try:
        column = column.astype(np.float64)
        column = column.astype(np.int64) if np.all(column == np.round(column)) else column
    except ValueError:
        column = column.astype(str)
    values, places = np.unique(column, return_inverse=True)
    return TableDimension(name, tuple(values.tolist()), ordered), places.reshape(-1)
