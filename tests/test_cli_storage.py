"""`automl storage`: what lies in a database, and studies from one to another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automl.commands import storage
from automl.errors import InputError
from automl.storage import current_holder, open_store
from tests.storage.sample_outcomes import new_study, open_trial, outcome


@pytest.fixture
def source(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with open_store(url) as store:
        for name in ("a", "b"):
            for number in range(3):
                open_trial(store, new_study(store, name), number)
            store.finish_trial(new_study(store, name), 0, outcome(0))
    return url


@pytest.fixture
def destination(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new' / 'destination.db'}"


def test_copy_copies_the_named_studies(source: str, destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage.copy(source, destination, ["b"], as_json=True)
    (copied,) = json.loads(capsys.readouterr().out)["studies"]
    assert (copied["name"], copied["rows"]["automl_trial"]) == ("b", 3)
    with open_store(destination) as store:
        assert [study.name for study in store.studies()] == ["b"]


def test_copy_copies_all_and_says_what_it_left(
    source: str, destination: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.copy(source, destination)
    captured = capsys.readouterr()
    assert "every row found equal" in captured.out
    assert [line.split()[:2] for line in captured.out.splitlines()[-2:]] == [["a", "3"], ["b", "3"]]
    assert "files of the run folder were not copied" in captured.err


def test_copy_refuses_a_source_that_is_not_there(tmp_path: Path, destination: str) -> None:
    with pytest.raises(InputError, match="must be a database that exists, but got no such file"):
        storage.copy(f"sqlite:///{tmp_path / 'nothing.db'}", destination)
    assert not (tmp_path / "nothing.db").exists()


def test_info_tells_studies_and_who_drives_them(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(source) as store:
        store.take_lease(new_study(store, "b"), current_holder())
    storage.info(source, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == told["newest_version"]
    assert told["size_bytes"] >= Path(source.removeprefix("sqlite:///")).stat().st_size > 0
    assert [(one["name"], one["trials"], one["finished"]) for one in told["studies"]] == [("a", 3, 1), ("b", 3, 1)]
    assert [one["driven_by"] != "" for one in told["studies"]] == [False, True]


def test_info_prints_a_table(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    storage.info(source)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == source
    assert lines[1].startswith("schema version")
    assert lines[-1].split() == ["b", "3", "1", "–"]
