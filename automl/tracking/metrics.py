"""Prometheus: what a driver, its workers and its lanes are doing, on a port of this machine."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING

from automl.errors import input_error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter

    from automl.storage import TrialRecord

LOOPBACK = "127.0.0.1"
GAUGES: Mapping[str, str] = {
    "front_size": "Trials on the front.",
    "hypervolume": "Hypervolume of the front.",
    "open_trials": "Trials without an outcome.",
    "workers": "Workers of the pool.",
    "workers_busy": "Workers that evaluate a trial.",
    "queue": "Open trials that wait for a worker.",
    "mirror_lag": "Finished trials that Optuna's tables do not hold yet.",
    "lane_held_seconds": "How long the present holder has had the timing lane, 0 while it is free.",
    "lease_renewed_timestamp": "When the driver last renewed its lease, in seconds since the epoch.",
}
HISTOGRAMS: Mapping[str, str] = {
    "ask_seconds": "Time to make a proposal.",
    "record_seconds": "Time to record an outcome.",
}
_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_LANE_STAGES = {"time_untrained": "untrained", "time_trained": "trained"}
_PART_OF_TRAIN = "training_core"  # a stage within the stage "train"


class MetricsServer:
    """Serves `/metrics` of one study, from a registry of its own; `port` 0 takes any free one.

    `automl_lane_seconds_total` counts a trial's two timings with the wait for the lane.

    Raises:
        InputError: where the port is taken or may not be opened.
    """

    def __init__(self, port: int, study: str, host: str = LOOPBACK) -> None:
        from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server

        self._study, registry = study, CollectorRegistry()
        self._gauges = {
            name: Gauge(f"automl_{name}", text, ["study"], registry=registry) for name, text in GAUGES.items()
        }
        self._histograms = {
            name: Histogram(f"automl_{name}", text, ["study"], registry=registry, buckets=_BUCKETS)
            for name, text in HISTOGRAMS.items()
        }
        self._trials = _counter(registry, "trials", "Finished trials, the reused ones apart.", "state")
        self._lane = _counter(registry, "lane_seconds", "Seconds in the timing lane and waiting for it.", "moment")
        self._training = _counter(registry, "training_seconds", "Seconds of training.")
        self._saved = _counter(registry, "reused_seconds_saved", "Seconds that reused outcomes had cost.")
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise _refusal(port, error) from error

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return self._server.server_port

    def tell(self, trial: TrialRecord) -> None:
        """Count a finished trial."""
        if trial.outcome is None:
            return
        seconds, study = trial.outcome.seconds, self._study
        if trial.reused_from is not None:
            self._trials.labels(study, "reused").inc()
            self._saved.labels(study).inc(sum(value for name, value in seconds.items() if name != _PART_OF_TRAIN))
            return
        self._trials.labels(study, trial.state).inc()
        self._training.labels(study).inc(seconds.get(_PART_OF_TRAIN, seconds.get("train", 0.0)))
        for stage, moment in _LANE_STAGES.items():
            self._lane.labels(study, moment).inc(seconds.get(stage, 0.0))

    def gauge(self, name: str, value: float) -> None:
        """Set one of `GAUGES`."""
        self._gauges[name].labels(self._study).set(value)

    def observe(self, name: str, seconds: float) -> None:
        """Add a duration to one of `HISTOGRAMS`."""
        self._histograms[name].labels(self._study).observe(seconds)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    from prometheus_client import Counter

    return Counter(f"automl_{name}", text, ["study", *labels], registry=registry)


def _refusal(port: int, error: OSError) -> Exception:
    remedy = "Choose another one, or 0 for any free one."
    taken = error.errno == errno.EADDRINUSE
    got = f"{port}, which another program uses" if taken else f"{port}: {error.strerror}"
    return input_error("tracking.metrics_port", "a port that is free", got, remedy)
