"""Take a user's model through all that a study will do to it, untrained and in seconds, before any training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from automl.candidate import PruningPlan, QuantizationPlan, UserModel
from automl.compression.criteria import channel_importance, needs_evidence
from automl.compression.pruning import nominal_structure
from automl.compression.user_model import EXACT, OpenedModel, halved, open_source
from automl.errors import Fault, InputError, input_error
from automl.models.deployable import INPUT, Deployable, Task
from automl.models.user.coupled import Coupled, image_shape
from automl.models.user.groups import NORMS
from automl.models.user.source import ModelSource, describe
from automl.models.user.surgery import surgery_error

FLOAT = (32, 32)
SETTLING = 4  # samples
TOLERANCE = 1e-4  # of max(1, the largest logit), between torch and the pruned file in floating point


@dataclass(frozen=True)
class Check:
    """One step of the way, the seconds that it took, and what came of it."""

    name: str
    seconds: float
    result: str


@dataclass(frozen=True)
class Preflight:
    """What a user's model can do here. `notes` say what stays as it is, and why."""

    model: UserModel
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


@dataclass
class _Log:
    checks: list[Check] = field(default_factory=list)
    result: str = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; whatever fails in it is an error of the user's input that names the step."""
        started = time.perf_counter()
        self.result = ""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            got = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise input_error(f"preflight: {name}", "possible with this model", got) from error
        self.checks.append(Check(name, time.perf_counter() - started, self.result))


def preflight(
    source: ModelSource, task: Task, *, ratios: Sequence[float] = (0.5,), criteria: Sequence[str] = ("l1",),
    formats: Sequence[tuple[int, int]] = (FLOAT, (8, 8)), largest_code: int = 127, batch: int = 1,
) -> Preflight:  # fmt: skip
    """Build, prune, quantize, export and run the untrained model.

    It is pruned by the largest ratio; the channels' removal is held against zeroed channels in double precision, and
    the exported file against torch.

    Args:
        source: of the model.
        task: of the data.
        ratios: shares of the channels that pruning may take, each at least 0 and below 1.
        criteria: names of `criteria.CRITERIA`; those that look at data are not tried.
        formats: (weight bits, activation bits) that are to be written.
        largest_code: of 8-bit weights on the target.
        batch: of the exported files.

    Raises:
        InputError: naming every ratio that is none, or the first thing that cannot be done and the layer where.
    """
    check_ratios(ratios)
    log = _Log()
    with log.step("build"):
        opened = open_source(source, task)
        log.result = f"{_parameters(opened.network):,} parameters, {opened.kind}"
    network = opened.network.eval()
    with log.step("find coupled channels"):
        model = describe(network, source.name, opened.digest, opened.kind)
        log.result = f"{len(model.groups)} groups in {model.stage_count} stages"
    with log.step("prune"):
        small = _pruned(network, model, max(ratios, default=0.0)).eval()
        log.result = f"{_parameters(small):,} parameters left"
    for criterion in criteria:
        if model.groups and not needs_evidence(criterion):
            with log.step(f"rank channels by {criterion}"):
                channel_importance(network, network.group_widths(), criterion, None)
    with log.step("hold against zeroed channels"):
        log.result = _check_surgery(network)
    if source.weights is None:
        _settle(small, task)
    for pair in dict.fromkeys((FLOAT, *formats)):
        with log.step(f"export in w{pair[0]}a{pair[1]}"):
            log.result = _exported(opened, small, pair, largest_code, batch)
    return Preflight(model, tuple(log.checks), _notes(opened))


def check_ratios(ratios: Sequence[float]) -> None:
    """Check that each ratio leaves something.

    Raises:
        InputError: naming every one that is below 0, or takes all.
    """
    faults = [
        Fault("pruning.ratios", "at least 0 and below 1", f"{ratio:g}", "Use pruning.drop to remove whole blocks.")
        for ratio in ratios
        if not 0 <= ratio < 1
    ]
    if faults:
        raise InputError(faults)


def _pruned(network: Deployable, model: UserModel, ratio: float) -> Deployable:
    kept = tuple(max(1, round(width * (1 - ratio))) for width in model.widths)
    return nominal_structure(network, PruningPlan(kept))


def _settle(network: Deployable, task: Task) -> None:
    """Give fresh normalisations the statistics of a few random samples, without which all signal can fade away."""
    norms = [layer for layer in network.modules() if isinstance(layer, NORMS) and layer.running_mean is not None]
    momenta = [layer.momentum for layer in norms]
    if norms:
        for layer in norms:
            layer.momentum = 1.0
        with torch.inference_mode():
            network.train()(torch.from_numpy(_samples(task, SETTLING)))
        network.eval()
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _check_surgery(network: Deployable) -> str:
    """Return how exact the removal of half the channels is.

    Raises:
        InputError: naming each group that cannot be removed exactly.
    """
    if not isinstance(network, Coupled) or not network.groups():
        return "nothing to hold: no groups of its own" if not network.group_widths() else "the model's own rules"
    module, shape, groups = network.own_module(), image_shape(network.task), network.groups()
    error = surgery_error(module, groups, halved(groups), shape)
    if error <= EXACT:
        return f"largest difference {error:.1g} of the largest answer"
    wrong = [group for group in groups if surgery_error(module, (group,), halved((group,)), shape) > EXACT]
    raise InputError(
        Fault(f"the channels of {group.name}", "removable without a change of other answers", "a difference")
        for group in wrong or groups
    )


def _exported(opened: OpenedModel, small: Deployable, pair: tuple[int, int], largest_code: int, batch: int) -> str:
    """Return `_check_file`; where torch's exporter fails, the error says as well where our own trace ended."""
    try:
        return _check_file(small, pair, largest_code, batch)
    except InputError as error:
        if opened.kind != "opaque" or not opened.reason:
            raise
        raise InputError([*error.faults, Fault("its graph", "known", opened.reason)]) from error


def _check_file(network: Deployable, pair: tuple[int, int], largest_code: int, batch: int) -> str:
    """Return what the nominal file is like; the one in floating point must answer as torch does."""
    stages = len(network.stage_ends())
    plan = QuantizationPlan((pair[0],) * stages, (pair[1],) * stages)
    content = network.write(plan, codes=None, largest_code=largest_code, batch=batch)
    task = network.task
    samples = _samples(task, batch)
    answers = _run(content, samples)
    if answers.shape != (batch, task.classes):
        raise input_error("the exported file", f"one of {batch} x {task.classes} logits", answers.shape)
    if pair != FLOAT:
        return f"{len(content):,} bytes"
    with torch.inference_mode():
        expected = network(torch.from_numpy(samples)).numpy()
    difference = float(np.abs(answers - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not difference <= TOLERANCE:
        raise input_error("the exported file", f"within {TOLERANCE:g} of what torch answers", f"{difference:.2g}")
    return f"{len(content):,} bytes, {difference:.1g} from torch"


def _samples(task: Task, batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    highest = 256 if task.element == "uint8" else max(task.vocabulary, 2)
    return rng.integers(0, highest, (batch, *task.input_shape)).astype(task.element)


def _run(content: bytes, samples: np.ndarray) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: samples})[0]


def _notes(opened: OpenedModel) -> tuple[str, ...]:
    notes = list(opened.notes)
    if opened.reason:
        notes.append(f"its graph is not written by us: {opened.reason}")
    if isinstance(opened.network, Coupled):
        whole = opened.network.coupling().whole
        notes.extend(f"{layer} keeps its channels: {reason}" for layer, reason in whole.items())
    return tuple(notes)


def _parameters(network: Deployable) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
