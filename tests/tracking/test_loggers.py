"""What every logger promises, over all three; and the thread that follows the record, over a made-up one."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from automl.errors import StorageError
from automl.storage import TrialRecord
from automl.tracking.cards import Card, card
from automl.tracking.loggers import Follower, Logger
from automl.tracking.mlflow_runs import MlflowRuns
from automl.tracking.privacy import report_nothing
from automl.tracking.tensorboard_runs import TensorBoardRuns
from automl.tracking.wandb_runs import WandbRuns
from tests.tracking.made_up_trials import SPACE, open_trial, trial

OpenLogger = Callable[[], Logger]
WAIT_S = 20.0


def mlflow_folder(folder: Path, made: Path) -> Path:
    """Return a folder with an empty database: MLflow takes seconds to make one."""
    shutil.copytree(made, folder / "mlflow")
    return folder / "mlflow"


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mlflow")
    report_nothing()
    folder = tmp_path_factory.mktemp("empty")
    MlflowRuns(folder, "another study")
    return folder


@pytest.fixture(params=["tensorboard", "mlflow", "wandb"])
def open_logger(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLogger:
    """Return what opens a logger on the same folder each time."""
    pytest.importorskip(request.param)
    report_nothing()
    if request.param == "mlflow":
        folder = mlflow_folder(tmp_path, request.getfixturevalue("empty_mlflow"))
        return lambda: MlflowRuns(folder, "digits")
    kinds: dict[str, OpenLogger] = {
        "tensorboard": lambda: TensorBoardRuns(tmp_path / "digits"),
        "wandb": lambda: WandbRuns(tmp_path, "digits"),
    }
    return kinds[request.param]


def test_logger_knows_what_it_wrote_when_it_is_opened_again(open_logger: OpenLogger) -> None:
    logger = open_logger()
    assert logger.known() == {}
    cards = [card(trial(number, state), SPACE) for number, state in ((0, "measured"), (12, "failed"))]
    for each in cards:
        logger.write(each)
    logger.close()
    assert open_logger().known() == {each.number: each.tags["candidate_hash"] for each in cards}


def test_logger_writes_a_trial_in_place_of_another_of_its_number(open_logger: OpenLogger) -> None:
    first, second = card(trial(1), SPACE), card(replace(trial(1), candidate_hash="another"), SPACE)
    logger = open_logger()
    logger.write(first)
    logger.close()
    again = open_logger()
    assert again.known() == {1: first.tags["candidate_hash"]}
    again.write(second)
    again.close()
    assert open_logger().known() == {1: "another"}


def test_tensorboard_shows_figures_choices_and_the_curve(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    TensorBoardRuns(tmp_path).write(card(trial(7), SPACE))
    run = accumulator.EventAccumulator(str(tmp_path / "trial-00007")).Reload()
    assert set(run.Tags()["scalars"]) == {
        "accuracy", "latency_ms", "curve/loss", "curve/gradient_norm", "curve/learning_rate",
    }  # fmt: skip
    assert [(event.step, event.value) for event in run.Scalars("accuracy")] == [(7, 0.75)]
    assert [(event.step, event.value) for event in run.Scalars("curve/loss")] == [(0, 2.5), (1, 1.5)]
    start = run.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"prune_0" in start and b"bits" in start


def test_mlflow_shows_figures_choices_and_the_curve(tmp_path: Path, empty_mlflow: Path) -> None:
    from mlflow import MlflowClient

    folder = mlflow_folder(tmp_path, empty_mlflow)
    MlflowRuns(folder, "digits").write(card(trial(7), SPACE))
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {
        "accuracy": 0.75, "latency_ms": 3.0, "curve/loss": 1.5, "curve/gradient_norm": 1.0,
        "curve/learning_rate": 0.005,
    }  # fmt: skip
    assert [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "curve/loss")] == [
        (0, 2.5),
        (1, 1.5),
    ]
    assert run.data.params == {name: str(choice) for name, choice in SPACE.choices(trial(7).point).items()}
    assert run.data.tags["state"] == "measured" and run.info.status == "FINISHED"


def test_mlflow_writes_anew_what_a_killed_driver_left_half_written(tmp_path: Path, empty_mlflow: Path) -> None:
    from mlflow import MlflowClient

    folder = mlflow_folder(tmp_path, empty_mlflow)
    MlflowRuns(folder, "digits")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits").experiment_id
    client.create_run(experiment, tags={"number": "7"})
    runs = MlflowRuns(folder, "digits")
    assert runs.known() == {}
    runs.write(card(trial(7), SPACE))
    assert [run.info.status for run in client.search_runs([experiment])] == ["FINISHED"]


def test_wandb_shows_figures_choices_and_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    report_nothing()
    runs = WandbRuns(tmp_path, "digits")
    runs.write(card(trial(7), SPACE))
    runs.close()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-digits-7")
    stored = wandb_records(folder / "run-digits-7.wandb")
    (run,) = [record.run for record in stored if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.run_id, run.display_name) == ("digits", "digits-7", "trial-00007")
    assert {item.key for item in run.config.update} >= {"op_0", "width", "bits"}
    shown = {item.key or item.nested_key[0]: item.value_json for record in stored for item in record.summary.update}
    assert (shown["accuracy"], shown["state"], shown["number"]) == ("0.75", '"measured"', "7")
    losses = [
        item.value_json
        for record in stored
        for item in record.history.item
        if (item.key or item.nested_key[0]) == "curve/loss"
    ]
    assert losses == ["2.5", "1.5"]


def wandb_records(path: Path) -> list[Any]:
    """Return the records of an offline run, whose file is a LevelDB log of blocks of 32 KiB behind a short header."""
    from wandb.proto import wandb_internal_pb2

    data, at, pending, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left_in_block = 32768 - at % 32768
        if left_in_block < 7:
            at += left_in_block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        pending += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(wandb_internal_pb2.Record.FromString(pending))
            pending = b""
    return records


class FakeLogger:
    """Keeps cards; may know some beforehand, and raise at one number."""

    def __init__(self, known: Mapping[int, str] | None = None, raises_at: int | None = None) -> None:
        self.cards: list[Card] = []
        self.threads: set[int] = set()
        self.closed = threading.Event()
        self._known, self._raises_at = known or {}, raises_at

    def known(self) -> Mapping[int, str]:
        return self._known

    def write(self, card: Card) -> None:
        if card.number == self._raises_at:
            raise OSError("no space left")
        self.cards.append(card)
        self.threads.add(threading.get_ident())

    def close(self) -> None:
        self.closed.set()


def follow(logger: FakeLogger, *trials: TrialRecord, read: Any = None) -> Follower:
    return Follower("fake", lambda: logger, SPACE, trials, read)


def test_follower_writes_what_the_logger_lacks_on_a_thread_of_its_own() -> None:
    known = {0: trial(0).candidate_hash, 1: "of a study that was deleted"}
    logger = FakeLogger(known)
    follower = follow(logger, trial(0), trial(1), open_trial(2))
    follower.tell(trial(3))
    follower.tell(trial(3))
    follower.close()
    assert [each.number for each in logger.cards] == [1, 3]
    assert logger.threads and threading.get_ident() not in logger.threads
    assert follower.fault is None and logger.closed.is_set()


def test_follower_reads_the_whole_trial_for_its_curve() -> None:
    light = replace(trial(0), outcome=replace(trial(0).outcome, curve=()))  # type: ignore[type-var]
    logger = FakeLogger()
    follow(logger, light, read=trial).close()
    assert len(logger.cards[0].curve) == 2


def test_follower_makes_do_without_the_curve_while_the_database_is_gone() -> None:
    def gone(number: int) -> None:
        raise StorageError("gone")

    logger = FakeLogger()
    follower = follow(logger, trial(0), read=gone)
    follower.close()
    assert len(logger.cards) == 1 and follower.fault is None


def test_follower_ends_at_a_fault_and_says_which() -> None:
    logger = FakeLogger(raises_at=1)
    follower = follow(logger, trial(0), trial(1), trial(2))
    follower.close()
    assert [each.number for each in logger.cards] == [0]
    assert follower.fault == "OSError: no space left" and logger.closed.is_set()


def test_follower_that_cannot_end_in_time_says_how_much_is_left() -> None:
    started, proceed = threading.Event(), threading.Event()

    class Slow(FakeLogger):
        def write(self, card: Card) -> None:
            started.set()
            proceed.wait(WAIT_S)

    follower = follow(Slow(), trial(0), trial(1))
    started.wait(WAIT_S)
    follower.close(timeout_s=0.01)
    proceed.set()
    assert follower.fault is not None and "added at the next start" in follower.fault
