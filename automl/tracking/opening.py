"""Opens what a study's `tracking` names, and hands everything on to all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from automl.errors import Fault, InputError
from automl.space import SearchSpace
from automl.tracking.log import Log
from automl.tracking.loggers import Follower, Logger, ReadTrial
from automl.tracking.metrics import MetricsServer
from automl.tracking.privacy import report_nothing

if TYPE_CHECKING:
    from automl.storage import TrialRecord

OnFault = Callable[[str], None]


@dataclass(frozen=True)
class TrackingPlan:
    """Who is told, as the parts of a study file say it; None means not this one. Port 0 takes any free one."""

    metrics_port: int | None = None
    log: Path | None = None
    tensorboard: Path | None = None
    mlflow: Path | None = None
    wandb: Path | None = None


class Tracking:
    """Tells everyone who was asked for. No method raises or waits, but for `close`; each may be called by one thread.

    What ends early says so once, through `on_fault`, in the thread that calls; the others go on.
    """

    def __init__(
        self, log: Log | None, metrics: MetricsServer | None, followers: Iterable[Follower], on_fault: OnFault
    ) -> None:
        self._log, self._metrics, self._followers = log, metrics, list(followers)
        self._on_fault = on_fault
        self._log_faulted = False

    @property
    def metrics_port(self) -> int | None:
        """Return the port of the metrics, None where they are not served."""
        return None if self._metrics is None else self._metrics.port

    def tell(self, trial: TrialRecord) -> None:
        """Tell of a finished trial, after the record has it."""
        if self._log is not None:
            self._log.tell(trial)
        if self._metrics is not None:
            self._metrics.tell(trial)
        for follower in self._followers:
            follower.tell(trial)
        self._report()

    def note(self, kind: str, text: str, trial: int | None = None) -> None:
        """Tell of an event: started, waiting, resumed, worker died, stopped and so on."""
        if self._log is not None:
            self._log.note(kind, text, trial)
        self._report()

    def gauge(self, name: str, value: float) -> None:
        """Set one of `metrics.GAUGES`."""
        if self._metrics is not None:
            self._metrics.gauge(name, value)

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration to one of `metrics.HISTOGRAMS`."""
        if self._metrics is not None:
            self._metrics.observe(name, seconds)

    def close(self) -> None:
        """Let the loggers write what is queued, and end everything."""
        for follower in self._followers:
            follower.close()
        self._report()
        if self._metrics is not None:
            self._metrics.close()
        if self._log is not None:
            self._log.close()

    def _report(self) -> None:
        """Tell of what has ended since the last time, and drop it."""
        for follower in [each for each in self._followers if each.fault is not None]:
            self._followers.remove(follower)
            self._tell_fault(f"{follower.name} is no longer told: {follower.fault}")
        if self._log is not None and self._log.fault is not None and not self._log_faulted:
            self._log_faulted = True
            self._on_fault(self._log.fault)

    def _tell_fault(self, text: str) -> None:
        if self._log is not None:
            self._log.note("tracking", text)
        self._on_fault(text)


def open_tracking(
    plan: TrackingPlan,
    study: str,
    space: SearchSpace,
    trials: Iterable[TrialRecord],
    on_fault: OnFault,
    read: ReadTrial | None = None,
) -> Tracking:
    """Return what tells everyone that the plan names; with an empty plan nothing is imported or started.

    Args:
        plan: who is told.
        study: its name.
        space: in which the trials' points lie.
        trials: the record; metrics and loggers are made whole from it, the log goes on.
        on_fault: told once of each that ends early; may write to the store.
        read: returns a trial with its learning curve, called from the loggers' threads; None leaves curves out.

    Raises:
        InputError: where a package is missing, a port is taken, or a path cannot be written.
    """
    wanted = {name: getattr(plan, name) for name in ("tensorboard", "mlflow", "wandb")}
    folders: dict[str, Path] = {name: path for name, path in wanted.items() if path is not None}
    _refuse_missing(folders)
    recorded = list(trials)
    log = None if plan.log is None else Log(plan.log, study)
    try:
        metrics = None if plan.metrics_port is None else _metrics(plan.metrics_port, study, recorded)
    except InputError:
        if log is not None:
            log.close()
        raise
    if folders:
        report_nothing()
    openers = {name: partial(_open_logger, name, path, study) for name, path in folders.items()}
    followers = [Follower(name, opener, space, recorded, read) for name, opener in openers.items()]
    return Tracking(log, metrics, followers, on_fault)


def _metrics(port: int, study: str, trials: Iterable[TrialRecord]) -> MetricsServer:
    server = MetricsServer(port, study)
    for trial in trials:
        server.tell(trial)
    return server


def _open_logger(name: str, folder: Path, study: str) -> Logger:
    if name == "tensorboard":
        from automl.tracking.tensorboard_runs import TensorBoardRuns

        return TensorBoardRuns(folder / study)
    if name == "mlflow":
        from automl.tracking.mlflow_runs import MlflowRuns

        return MlflowRuns(folder, study)
    from automl.tracking.wandb_runs import WandbRuns

    return WandbRuns(folder, study)


def _refuse_missing(folders: dict[str, Path]) -> None:
    """Raise one error with every package that is missing and every folder that cannot be made."""
    faults = []
    for name, folder in folders.items():
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # without an origin: a folder of that name lies in the current one
            remedy = f"Run: pip install 'automl[{name}]', or leave tracking.{name} out."
            faults.append(Fault(f"tracking.{name}", "a logger that is installed", f"no package {name}", remedy))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            faults.append(Fault(f"tracking.{name}", "a folder that can be written", f"{folder}: {error.strerror}"))
    if faults:
        raise InputError(faults)
