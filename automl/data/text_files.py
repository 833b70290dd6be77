"""Labelled texts from CSV files with the columns `text` and `category`, checked row by row.

A folder holds `train.csv`, perhaps `test.csv`, and perhaps `categories.json`: the names of the categories in the order
of the labels. A single CSV has no test set of its own. Files are UTF-8; every fault of all files is reported at once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from automl.data.images import FEWEST_A_CLASS, listed
from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from _csv import Reader

COLUMNS = ("text", "category")
TRAIN_NAME, TEST_NAME, CATEGORIES_NAME = "train.csv", "test.csv", "categories.json"
_AS_UTF8 = "Save it as UTF-8: iconv -f windows-1252 -t utf-8."


@dataclass(frozen=True)
class Row:
    """One labelled text, and the line of its file that it begins on."""

    text: str
    category: str
    line: int


@dataclass(frozen=True)
class Texts:
    """All texts of a source. `test` is its own test set where it has one; `digest` is the SHA-256 of all that was read.

    `classes` names the labels 0, 1, ...: as `categories.json` has them, otherwise in alphabetical order.
    """

    name: str
    rows: tuple[Row, ...]
    test: tuple[Row, ...] | None
    classes: tuple[str, ...]
    digest: str

    def labels(self, rows: Sequence[Row]) -> list[int]:
        """Return the label of each row."""
        index = {name: label for label, name in enumerate(self.classes)}
        return [index[row.category] for row in rows]


def read_texts(path: Path) -> Texts:
    """Return the texts of the folder or CSV file.

    Raises:
        InputError: naming every fault with its lines: no such file, bad encoding, missing columns, rows without a text
            or a category, categories that only test or no file has, one category only, or too few texts of one.
    """
    train, test, categories = _files(path)
    faults: list[Fault] = []
    rows = _read_rows(train, faults)
    test_rows = None if test is None else _read_rows(test, faults)
    names = None if categories is None else _read_categories(categories, faults)
    if not faults:
        faults += _category_faults(path, rows, test_rows, names)
    if faults:
        raise InputError(faults)
    classes = tuple(sorted({row.category for row in rows})) if names is None else names
    return Texts(path.stem, rows, test_rows, classes, _digest(rows, test_rows, classes))


def _files(path: Path) -> tuple[Path, Path | None, Path | None]:
    """Return the training file, and the test file and the list of categories where there are such."""
    if path.is_file():
        return path, None, None
    if not path.is_dir():
        raise input_error(str(path), f"a CSV file, or a folder with {TRAIN_NAME}", "no such file or folder")
    if not (path / TRAIN_NAME).is_file():
        found = listed(sorted(entry.name for entry in path.iterdir()))
        raise input_error(str(path), f"a folder with {TRAIN_NAME}", f"only {found}" if found else "an empty folder")
    others = [path / name if (path / name).is_file() else None for name in (TEST_NAME, CATEGORIES_NAME)]
    return path / TRAIN_NAME, others[0], others[1]


def _read_rows(path: Path, faults: list[Fault]) -> tuple[Row, ...]:
    """Return the rows of a file that are whole, and add what is wrong with the others."""
    # Bytes that are no UTF-8 become surrogates, so that their rows can be named and the others be read.
    content = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    reader = csv.reader(io.StringIO(content, newline=""))
    try:
        header = next(reader, [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            got = f"no {' and no '.join(missing)} among {listed(header)}" if header else "an empty file"
            faults.append(Fault(str(path), "a CSV file whose first line is text,category", got))
            return ()
        return _checked_rows(path, reader, header, faults)
    except csv.Error as error:
        faults.append(Fault(f"{path}: line {reader.line_num}", "a readable CSV row", str(error)))
        return ()


def _numbered(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line that it begins on; a blank line is no row."""
    line = reader.line_num + 1
    for values in reader:
        if values:
            yield line, values
        line = reader.line_num + 1


def _checked_rows(path: Path, reader: Reader, header: list[str], faults: list[Fault]) -> tuple[Row, ...]:
    rows: list[Row] = []
    wrong: dict[str, list[str]] = {kind: [] for kind in _ROW_FAULTS}
    for line, values in _numbered(reader):
        text, category = (_column(values, header, name) for name in COLUMNS)
        row = Row(text, category, line)
        kind = _row_fault(values, header, row)
        if kind is None:
            rows.append(row)
        else:
            wrong[kind].append(str(line))
    for kind, lines in wrong.items():
        if lines:
            expected, remedy = _ROW_FAULTS[kind]
            faults.append(Fault(str(path), expected, f"{kind} in {_lines(lines)}", remedy))
    if not rows and not any(wrong.values()):
        faults.append(Fault(str(path), "a CSV file with at least one text", "none"))
    return tuple(rows)


_ROW_FAULTS = {
    "bytes that are no UTF-8": ("a file in UTF-8", _AS_UTF8),
    "another number of columns than the first line": ("a CSV file with as many values in each row", "Quote commas."),
    "an empty text": ("a CSV file with a text in each row", ""),
    "an empty category": ("a CSV file with a category in each row", ""),
}


def _row_fault(values: list[str], header: list[str], row: Row) -> str | None:
    encoding, columns, text, category = _ROW_FAULTS
    if any("\udc80" <= character <= "\udcff" for value in values for character in value):
        return encoding
    if len(values) != len(header):
        return columns
    if not row.text:
        return text
    return None if row.category else category


def _column(values: list[str], header: list[str], name: str) -> str:
    position = header.index(name)
    return values[position].strip() if position < len(values) else ""


def _read_categories(path: Path, faults: list[Fault]) -> tuple[str, ...] | None:
    """Return the names in the file, None where it holds something else."""
    expected = "a JSON list of the different names of the categories"
    try:
        names = json.loads(path.read_bytes())
    except ValueError as error:
        faults.append(Fault(str(path), expected, str(error)))
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        faults.append(Fault(str(path), expected, "something else"))
        return None
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        faults.append(Fault(str(path), expected, f"twice {listed(twice)}"))
    return tuple(names)


def _category_faults(
    path: Path, rows: tuple[Row, ...], test: tuple[Row, ...] | None, names: tuple[str, ...] | None
) -> list[Fault]:
    """Return what is wrong with the categories of rows that are whole in themselves."""
    counts = Counter(row.category for row in rows)
    faults = []
    if len(counts) < 2:
        faults.append(Fault(str(path), "texts of at least two categories", f"one only: {', '.join(counts)}"))
    if names is not None:
        faults += _stray(path / TRAIN_NAME, rows, set(names), f"of a category in {CATEGORIES_NAME} each")
    faults += _stray(path / TEST_NAME, test if test is not None else (), set(counts), "of a category in train.csv each")
    fewest = FEWEST_A_CLASS if test is None else FEWEST_A_CLASS - 1
    few = [f"{name} ({counts[name]})" for name in (names if names is not None else counts) if counts[name] < fewest]
    if few:
        expected = f"at least {fewest} texts of each category, so that it can be split"
        faults.append(Fault(str(path), expected, listed(few)))
    return faults


def _stray(path: Path, rows: Sequence[Row], known: set[str], expected: str) -> list[Fault]:
    """Return a fault that names the rows whose category is not known."""
    strays = [row for row in rows if row.category not in known]
    if not strays:
        return []
    names = listed(sorted({row.category for row in strays}))
    return [Fault(str(path), expected, f"{names} in {_lines([str(row.line) for row in strays])}")]


def _lines(lines: Sequence[str]) -> str:
    return f"line {lines[0]}" if len(lines) == 1 else f"lines {listed(lines)}"


def _digest(rows: Sequence[Row], test: Sequence[Row] | None, classes: Sequence[str]) -> str:
    parts = [[(row.text, row.category) for row in part] for part in (rows, test if test is not None else ())]
    return hashlib.sha256(json.dumps([parts, list(classes)]).encode()).hexdigest()
