"""Recorded tables as studies: what is read, what is refused, and that a replay is the driver's own run."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.errors import InputError
from automl.pareto import front_mask
from automl.search.driver import drive
from automl.search.inline import InlineExecutor
from automl.search.replaying.judging import first_at, truth_of
from automl.search.replaying.playing import drive_plan, play, sampler_plan
from automl.search.replaying.recorded_space import ReadRow, RecordedRows, free_features, path_counts, recorded_space
from automl.search.replaying.summary import summarise
from automl.search.replaying.table import open_table
from automl.storage import TrialRecord
from tests.search.search_fakes import new_store

DESCRIPTION: dict[str, Any] = {
    "name": "toy",
    "choices": [{"column": "arch", "split": True}, {"column": "width", "ordered": True}],
    "objectives": [
        {"column": "valid", "direction": "maximize", "kind": "accuracy", "score": "test"},
        {"column": "macs", "direction": "minimize", "kind": "multiply-adds", "unit": "M"},
    ],
    "isomorphism": "class",
    "features": ["macs"],
}
WIDTHS = (16, 32, 64)


def toy_columns() -> dict[str, list[Any]]:
    """Return 4^3 x 3 networks; the first letter and the last one may be exchanged."""
    cells = list(itertools.product(itertools.product("0123", repeat=3), WIDTHS))
    power = [sum(int(letter) for letter in letters) * width for letters, width in cells]
    noise = np.random.default_rng(0).normal(size=(2, len(cells)))
    kinds = {tuple(sorted(letters)): place for place, (letters, _) in enumerate(cells)}
    return {
        "arch": ["".join(letters) for letters, _ in cells],
        "width": [width for _, width in cells],
        "valid": [90 - 300 / (10 + power[n]) + 0.1 * noise[0, n] for n in range(len(cells))],
        "test": [89 - 300 / (10 + power[n]) + 0.1 * noise[1, n] for n in range(len(cells))],
        "macs": [1 + power[n] for n in range(len(cells))],
        "class": [kinds[tuple(sorted(letters))] * 100 + width for letters, width in cells],
    }


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    path.with_name(f"{path.name.partition('.')[0]}.json").write_text(json.dumps(DESCRIPTION))
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "toy.csv", toy_columns())


def recorded_of(path: Path, merged: bool = False) -> RecordedRows:
    table = open_table(path)
    return RecordedRows(table, tuple(table.description.objective(name) for name in table.description.searched), merged)


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".npz", ".parquet"])
def test_open_table_reads_every_format_alike(kind: str, tmp_path: Path) -> None:
    columns, path = toy_columns(), tmp_path / f"toy{kind}"
    write_csv(tmp_path / "toy.csv.gz", columns)
    if kind == ".npz":
        np.savez(path, **{name: np.array(column) for name, column in columns.items()})
    elif kind == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(columns), path)
    elif kind == ".csv":
        write_csv(path, columns)
    table = open_table(path)
    assert [dimension.name for dimension in table.dimensions] == ["arch_0", "arch_1", "arch_2", "width"]
    assert (table.dimensions[3].values, table.dimensions[3].ordered) == (WIDTHS, True)
    assert len(table) == 192 and table.figure("macs")[191] == 1 + 9 * 64


def test_open_table_knows_public_tables_by_their_columns(tmp_path: Path) -> None:
    head = "arch,test_acc_s0,test_acc_s1,test_acc_s2,mean_acc,params,flops"
    (tmp_path / "any.csv").write_text(f"{head}\n01,45.3,45.3,45.4,45.3,10,77\n10,64.3,64.2,64.1,64.2,20,141\n")
    description = open_table(tmp_path / "any.csv").description
    assert (description.name, description.searched) == ("NAS-Bench-Macro", ("test_acc_s0", "flops"))
    assert [each.kind for each in description.objectives] == ["accuracy", "multiply-adds", "size"]


def test_open_table_names_every_missing_column(toy: Path) -> None:
    columns = {name: column for name, column in toy_columns().items() if name not in ("macs", "test")}
    write_csv(toy, columns)
    with pytest.raises(InputError) as caught:
        open_table(toy)
    assert [fault.where.rpartition(" ")[2] for fault in caught.value.faults] == ["macs", "test"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objectives": []}, "objectives must be given, but got nothing"),
        ({"colour": 1}, "colour must be one of name, choices"),
        ({"searched": ["f1"]}, "f1 must be one of its objectives"),
        (
            {"objectives": [{"column": "macs", "direction": "down", "kind": "speed"}]},
            "direction of macs must be minimize",
        ),
        ({"objectives": [{"column": "macs"}]}, "must be a description as in docs/replay.md"),
    ],
)
def test_open_table_refuses_a_faulty_description(change: dict[str, Any], words: str, toy: Path) -> None:
    toy.with_suffix(".json").write_text(json.dumps(DESCRIPTION | change))
    with pytest.raises(InputError, match=words):
        open_table(toy)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("table.csv", "a,b\n1,2\n", "must be a table whose columns are known or described, but got a, b"),
        ("table.csv", "a,b\n1\n", r"must be a readable \.csv file, but got lines of different lengths"),
        ("table.npz", "nothing", r"must be a readable \.npz file"),
        ("table.xls", "", r"must be a table that ends in \.npz, \.csv"),
        ("table.csv", "", "columns of one length, at least one row"),
    ],
)
def test_open_table_refuses_what_it_cannot_read(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        open_table(tmp_path / name)


def test_read_row_gives_the_row_of_the_candidate(toy: Path) -> None:
    recorded = recorded_of(toy)
    space = recorded_space(recorded)
    candidate = space.decode(space.point({"arch_0": 3, "arch_1": 0, "arch_2": 1, "width": 32}))
    outcome: Any = ReadRow(recorded, candidate)(None)
    row = toy_columns()["arch"].index("301") + 1
    assert outcome.value("accuracy") == pytest.approx(toy_columns()["valid"][row] / 100)
    assert outcome.value("latency_ms") == 1 + 4 * 32
    assert {each.kind for each in outcome.measurements} == {"recorded"}


def test_merged_isomorphs_are_one_candidate_with_their_mean(toy: Path) -> None:
    recorded = recorded_of(toy, merged=True)
    space = recorded_space(recorded)
    first, second = (
        space.decode(space.point({"arch_0": a, "arch_1": 0, "arch_2": 3 - a, "width": 16})) for a in (0, 3)
    )
    assert first.candidate_hash() == second.candidate_hash()
    assert recorded.figure("valid")[0] == pytest.approx(toy_columns()["valid"][0])
    apart = recorded_space(recorded_of(toy))
    assert apart.decode(apart.point({"arch_0": 3, "arch_1": 0, "arch_2": 0, "width": 16})) != first


def test_a_point_that_the_table_lacks_fails_and_costs_no_evaluation(toy: Path) -> None:
    columns = {name: column[::2] for name, column in toy_columns().items()}
    recorded = recorded_of(write_csv(toy, columns))
    run = play(recorded, sampler_plan(recorded, "random", 0), 40)
    assert len(run.rows) == len(set(run.rows)) == 40 and max(run.rows) < 96


@pytest.mark.parametrize("method", ["surrogate", "evolution", "random"])
def test_play_makes_the_very_trials_of_the_driver(method: str, toy: Path, tmp_path: Path) -> None:
    recorded = recorded_of(toy, merged=True)
    plan = sampler_plan(recorded, method, 3)
    run = play(recorded, plan, 30)
    told: list[TrialRecord] = []

    class Ear:
        def tell(self, trial: TrialRecord) -> None:
            told.append(trial)

    with new_store(tmp_path) as store:
        drive(drive_plan(recorded, plan, 30, 1), store, InlineExecutor(), Ear(), lambda _: None)
    driven = [recorded.row(trial.candidate) for trial in told if trial.state == "measured" and not trial.reused_from]
    assert driven[: len(run.rows)] == list(run.rows) and len(run.rows) == 30


def test_truth_of_the_whole_table_is_one(toy: Path) -> None:
    recorded = recorded_of(toy)
    truth = truth_of(recorded)
    assert set(truth.front) == set(np.flatnonzero(front_mask(truth.searched)))
    assert truth.share(range(192)) == pytest.approx(1.0)
    assert truth.distance(truth.front.tolist()) == 0.0
    assert truth.scoring_share(range(192)) == pytest.approx(truth.ceiling) and truth.ceiling < 1


def test_shares_grow_and_equal_the_share_of_what_was_seen(toy: Path) -> None:
    truth = truth_of(recorded_of(toy))
    rows = np.random.default_rng(1).permutation(192)[:40].tolist()
    shares = truth.shares(rows)
    assert np.all(np.diff(shares) >= 0)
    assert [shares[place - 1] for place in (1, 7, 40)] == pytest.approx([truth.share(rows[:n]) for n in (1, 7, 40)])
    assert first_at(shares, shares[6]) <= 7 and first_at(shares, 2.0) == np.inf


def test_surrogate_finds_more_than_random(toy: Path) -> None:
    """A function of fixed seeds: no failure rate."""
    recorded = recorded_of(toy)
    truth = truth_of(recorded)
    shares = {
        method: summarise([play(recorded, sampler_plan(recorded, method, seed), 50) for seed in (0, 1)], truth).shares[
            50
        ]
        for method in ("surrogate", "random")
    }
    assert shares["surrogate"].low > shares["random"].high


def test_path_counts_count_along_paths_that_are_not_cut() -> None:
    table = open_table_of_cells()
    graph = table.description.graph
    assert graph is not None
    counts = np.hstack(path_counts(table, graph))
    # paths 0-2 (edge 1) and 0-1-2 (edges 0, 2), each: operations a, b, and whether it is whole
    whole = {tuple(row): count.tolist() for row, count in zip(table.rows.tolist(), counts, strict=True)}
    a, b, none = (table.dimensions[0].values.index(word) for word in ("a", "b", "none"))
    assert whole[(a, b, a)] == [0, 1, 1, 2, 0, 1]
    assert whole[(none, b, a)] == [0, 1, 1, 0, 0, 0]


def open_table_of_cells() -> Any:
    from automl.search.replaying.description import parse_description
    from automl.search.replaying.table import Table, TableDimension

    said = parse_description(
        {
            "name": "cells", "choices": ["e0", "e1", "e2"],
            "objectives": [{"column": "f", "direction": "minimize", "kind": "loss"}],
            "graph": {"edges": [[0, 1], [0, 2], [1, 2]], "none": "none", "skip": "skip"},
        },
        "here",
    )  # fmt: skip
    dimensions = tuple(TableDimension(f"e{edge}", ("a", "b", "none", "skip"), False) for edge in range(3))
    rows = np.array(list(itertools.product(range(4), repeat=3)))
    return Table(said, dimensions, rows, {"f": np.arange(64.0)})


def test_free_features_have_the_same_spread_by_block(toy: Path) -> None:
    recorded = recorded_of(toy)
    space = recorded_space(recorded)
    features = free_features(recorded, space)
    assert features is not None and features.blocks == (1,)
    drawn = features.of([space.sample(np.random.default_rng(seed)) for seed in range(300)])
    assert drawn.std() == pytest.approx(0.5, rel=0.15)
