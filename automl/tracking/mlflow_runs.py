"""MLflow: an experiment a study and a run a trial, in a SQLite file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from automl.tracking.cards import Card

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")

DATABASE = "mlflow.db"
_NUMBER, _HASH = "number", "candidate_hash"
_PAGE = 1000
_AT_ONCE = 100  # parameters or tags that MLflow takes in one call; of figures it takes more


class MlflowRuns:
    """Runs in `folder / mlflow.db`; look at them with `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`.

    A run counts when MLflow says that it is finished; others of its number are deleted.
    """

    def __init__(self, folder: Path, study: str) -> None:
        from mlflow import MlflowClient

        folder = folder.absolute()
        self._client = MlflowClient(f"sqlite:///{folder / DATABASE}")
        experiment = self._client.get_experiment_by_name(study)
        if experiment is None:
            self._experiment: str = self._client.create_experiment(study, artifact_location=folder.as_uri())
        else:
            self._experiment = experiment.experiment_id
        self._runs: dict[int, list[str]] = {}  # the identities of all runs of a number

    def known(self) -> Mapping[int, str]:
        """Return the candidate hash of every trial that is there whole."""
        found = {}
        for run in self._all_runs():
            number = int(run.data.tags[_NUMBER])
            self._runs.setdefault(number, []).append(run.info.run_id)
            if run.info.status == "FINISHED":
                found[number] = run.data.tags[_HASH]
        return found

    def write(self, card: Card) -> None:
        """Write the trial's run."""
        from mlflow.entities import Metric, Param, RunTag

        for remains in self._runs.pop(card.number, []):
            self._client.delete_run(remains)
        began, ended = (int(moment.timestamp() * 1000) for moment in (card.began, card.ended))
        run = self._client.create_run(
            self._experiment, start_time=began, tags={_NUMBER: str(card.number)}, run_name=card.name
        )
        name = run.info.run_id
        metrics = [Metric(key, value, ended, card.number) for key, value in card.figures.items()]
        metrics += [Metric(key, value, ended, step) for key, step, value in card.points()]
        for part in _parts(metrics):
            self._client.log_batch(name, metrics=part)
        for params in _parts([Param(key, str(value)) for key, value in card.choices.items()]):
            self._client.log_batch(name, params=params)
        self._client.log_batch(name, tags=[RunTag(key, value) for key, value in card.tags.items()])
        self._client.set_terminated(name, "FINISHED", ended)
        self._runs[card.number] = [name]

    def close(self) -> None:
        """Do nothing: every call is a transaction of its own."""

    def _all_runs(self) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.{_NUMBER} LIKE '%'", max_results=_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
