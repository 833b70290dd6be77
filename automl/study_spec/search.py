"""The parts of a study that say how it is searched, where its trials run, and who is told of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from automl import plugins
from automl.study_spec.names import named
from automl.study_spec.values import Part, Real, Seed, Whole

METHODS = (
    "nsga2", "tpe", "random", "sklearn_grid", "sklearn_random", "surrogate", "evolution", "gp", "reinforce",
    "quasi_random",
)  # fmt: skip
HIGHEST_PORT = 65535


class StoppingSpec(Part):
    """Which trials are ended early: successive halving keeps one of `eta` at each rung below the top.

    Each rung is `eta` times the one below it, in epochs or in training images.
    """

    method: Literal["none", "halving"] = "none"
    eta: Annotated[Whole, Field(ge=2, le=10)] = 3
    rungs: Annotated[Whole, Field(ge=2, le=6)] = 3
    by: Literal["epochs", "data"] = "epochs"


def _address(value: str) -> str:
    host = re.fullmatch(r"(?:[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", value)
    if value != "auto" and (host is None or not 1 <= int(host[1]) <= HIGHEST_PORT):
        raise ValueError(f"auto, or HOST:PORT such as 10.0.0.5:6379, the port from 1 to {HIGHEST_PORT}")
    return value


def _gpus(value: float) -> float:
    if value > 1 and not value.is_integer():
        raise ValueError("a share of one GPU, or whole GPUs: Ray does not divide more than one")
    return value


class RaySpec(Part):
    """Which Ray cluster runs the workers, and what each one takes of it.

    `address` is that of a cluster that runs (auto, HOST:PORT), None one of our own on this machine. `lane` names the
    custom resource of the node whose device is timed, None the machine of the search.
    """

    address: Annotated[str, AfterValidator(_address)] | None = None
    cpus: Annotated[Real, Field(gt=0)] = 1.0
    gpus: Annotated[Real, Field(ge=0), AfterValidator(_gpus)] = 0.0
    lane: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_the_lane(self) -> Self:
        if self.lane is not None and self.address is None:
            raise ValueError("with an address where it has a lane: a cluster of its own has no node of another device")
        return self


class TrackingSpec(Part):
    """Who else is told of a study: a port of Prometheus' metrics on loopback, folders of TensorBoard, MLflow, W&B."""

    metrics_port: Annotated[Whole, Field(ge=0, le=HIGHEST_PORT)] | None = None
    log: Path | None = None
    tensorboard: Path | None = None
    mlflow: Path | None = None
    wandb: Path | None = None


def _workers(value: object) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("auto, or a whole number of at least 1")


class SearchSpec(Part):
    """How candidates are proposed and where they run; `enqueue` names known cells to begin with.

    `method` is one of `METHODS`, or a plugin's. A trial that runs for longer than `timeout_seconds` is ended like one
    whose worker died.
    """

    method: Annotated[str, named(plugins.SAMPLERS, METHODS)] = "nsga2"
    seed: Seed = 0
    population: Annotated[Whole, Field(ge=2)] = 12
    workers: Annotated[int | str, BeforeValidator(_workers)] = "auto"
    executor: Literal["ray", "inline", "tune"] = "ray"
    timeout_seconds: Annotated[Real, Field(gt=0)] | None = None
    stopping: StoppingSpec = StoppingSpec()
    ray: RaySpec = RaySpec()
    enqueue: tuple[str | dict[str, int | float | str], ...] = ()

    @model_validator(mode="after")
    def _runs_where_it_says(self) -> Self:
        if self.executor == "inline" and self.ray.address is not None:
            raise ValueError("without ray.address where executor is inline: set executor to ray, or leave it out")
        return self
