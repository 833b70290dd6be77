"""What the columns of a recorded table mean, as a small JSON document; docs/replay.md says it at length.

Two public tables are known by their columns. Everything else brings its description: a file of the same name beside the
table that ends in .json, or one named with `--description`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.errors import Fault, InputError, input_error

KINDS = ("accuracy", "latency", "size", "multiply-adds", "energy", "loss")
SHARES = ("accuracy", "loss")  # compared as they are; the others are positive and compared as logarithms
DIRECTIONS = ("minimize", "maximize")
KEYS = ("name", "choices", "objectives", "searched", "fidelities", "isomorphism", "features", "graph")


@dataclass(frozen=True)
class ChoiceColumn:
    """A column that is chosen. `ordered` says that neighbouring values are alike.

    With `split` each character of its text is a choice of its own; a column of several dimensions is split as well.
    """

    column: str
    ordered: bool = False
    split: bool = False


@dataclass(frozen=True)
class TableObjective:
    """A column to search on. `score` is the column that only scores in its stead, "" where it is the same."""

    column: str
    direction: str
    kind: str
    unit: str = ""
    score: str = ""

    @property
    def logarithmic(self) -> bool:
        """Tell whether ratios matter rather than differences."""
        return self.kind not in SHARES


@dataclass(frozen=True)
class Fidelity:
    """A cheaper column in the stead of the objective `of`: `cost` against `full`, in the same unit (epochs)."""

    column: str
    of: str
    cost: float
    full: float


@dataclass(frozen=True)
class Graph:
    """The choices are operations on the edges of a graph, in this order, from node 0 to the last one.

    `none` and `skip` are the values of the operations that cut an edge and that do nothing.
    """

    edges: tuple[tuple[int, int], ...]
    none: int | str | None = None
    skip: int | str | None = None


@dataclass(frozen=True)
class Description:
    """A table's columns. `searched` are the objectives that are searched where the user names no others.

    `isomorphism` names a column that is equal for cells that are the same network; `features` are figures that cost
    nothing (parameters, multiply-adds, zero-cost scores).
    """

    name: str
    choices: tuple[ChoiceColumn, ...]
    objectives: tuple[TableObjective, ...]
    searched: tuple[str, ...]
    fidelities: tuple[Fidelity, ...] = ()
    isomorphism: str = ""
    features: tuple[str, ...] = ()
    graph: Graph | None = None

    def objective(self, column: str) -> TableObjective:
        """Return the objective of this column.

        Raises:
            InputError: where the table has no such objective.
        """
        found = next((each for each in self.objectives if each.column == column), None)
        if found is None:
            raise input_error("--objectives", f"of {', '.join(o.column for o in self.objectives)}", repr(column))
        return found

    def columns(self) -> set[str]:
        """Return every column that is named."""
        named = {each.column for each in self.choices} | {each.column for each in self.objectives}
        named |= {each.column for each in self.fidelities}
        named |= {each.score for each in self.objectives if each.score}
        return named | set(self.features) | ({self.isomorphism} if self.isomorphism else set())


def read_description(path: Path) -> Description:
    """Return the description in a JSON file.

    Raises:
        InputError: naming every fault.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise input_error(
            str(path), "a JSON file that says what the columns are", error, "See docs/replay.md."
        ) from None
    return parse_description(document, str(path))


def parse_description(document: Any, where: str) -> Description:
    """Return the description that `document` says.

    Raises:
        InputError: naming every fault.
    """
    if not isinstance(document, Mapping):
        raise input_error(where, f"an object with {', '.join(KEYS)}", type(document).__name__, "See docs/replay.md.")
    faults = [
        Fault(f"{where}: {key}", f"one of {', '.join(KEYS)}", "an unknown key") for key in document if key not in KEYS
    ]
    missing = [key for key in ("name", "choices", "objectives") if not document.get(key)]
    faults += [Fault(f"{where}: {key}", "given", "nothing") for key in missing]
    if faults:
        raise InputError(faults)
    try:
        choices = tuple(_choice(each) for each in document["choices"])
        objectives = tuple(TableObjective(**each) for each in document["objectives"])
        fidelities = tuple(Fidelity(**each) for each in document.get("fidelities", ()))
        graph = _graph(document.get("graph"))
    except (TypeError, ValueError, KeyError) as error:
        raise input_error(where, "a description as in docs/replay.md", error) from None
    searched = tuple(document.get("searched") or [each.column for each in objectives[:2]])
    found = Description(
        str(document["name"]), choices, objectives, searched, fidelities, str(document.get("isomorphism", "")),
        tuple(document.get("features", ())), graph,
    )  # fmt: skip
    faults = _faults(found, where)
    if faults:
        raise InputError(faults)
    return found


def _choice(said: Any) -> ChoiceColumn:
    return ChoiceColumn(said) if isinstance(said, str) else ChoiceColumn(**said)


def _graph(said: Any) -> Graph | None:
    if said is None:
        return None
    edges = tuple((int(start), int(end)) for start, end in said["edges"])
    return Graph(edges, said.get("none"), said.get("skip"))


def _faults(found: Description, where: str) -> list[Fault]:
    faults: list[Fault] = []
    for each in found.objectives:
        if each.direction not in DIRECTIONS:
            faults.append(Fault(f"{where}: direction of {each.column}", " or ".join(DIRECTIONS), repr(each.direction)))
        if each.kind not in KINDS:
            faults.append(Fault(f"{where}: kind of {each.column}", f"one of {', '.join(KINDS)}", repr(each.kind)))
        if each.logarithmic and each.direction == "maximize":
            faults.append(Fault(f"{where}: direction of {each.column}", "minimize for what is a cost", each.direction))
    known = {each.column for each in found.objectives}
    unknown = [column for column in (*found.searched, *(f.of for f in found.fidelities)) if column not in known]
    faults += [Fault(f"{where}: {column}", "one of its objectives", "another column") for column in unknown]
    return faults


def known_description(columns: Sequence[str]) -> Description | None:
    """Return the description of a public table that has these columns, None where it is none of them."""
    return next((each for each in KNOWN if each.columns() <= set(columns)), None)


def _latency(column: str) -> TableObjective:
    return TableObjective(column, "minimize", "latency", "ms")


NAS_BENCH_201 = Description(
    "NAS-Bench-201",
    (ChoiceColumn("ops"),),
    (
        TableObjective("c10_val_200_epochs", "maximize", "accuracy", "%", "c10_test_200_epochs"),
        TableObjective("c100_val_200_epochs", "maximize", "accuracy", "%", "c100_test_200_epochs"),
        *(_latency(f"latency_ms_{device}") for device in ("2080ti_1", "1080ti_256", "gold_6226", "raspi4")),
        TableObjective("macs_M", "minimize", "multiply-adds", "M"),
        TableObjective("params_M", "minimize", "size", "M"),
    ),
    ("c10_val_200_epochs", "latency_ms_2080ti_1"),
    (
        Fidelity("c10_val_12_epochs", "c10_val_200_epochs", 12, 200),
        Fidelity("c100_val_12_epochs", "c100_val_200_epochs", 12, 200),
    ),
    "isomorphism_class",
    ("params_M", "macs_M"),
    Graph(((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), none=0, skip=1),
)
NAS_BENCH_MACRO = Description(
    "NAS-Bench-Macro",
    (ChoiceColumn("arch", split=True),),
    (
        TableObjective("test_acc_s0", "maximize", "accuracy", "%", "mean_acc"),
        TableObjective("flops", "minimize", "multiply-adds"),
        TableObjective("params", "minimize", "size"),
    ),
    ("test_acc_s0", "flops"),
    features=("params", "flops"),
)
KNOWN = (NAS_BENCH_201, NAS_BENCH_MACRO)
