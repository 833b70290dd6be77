"""What a candidate costs beside its latency, and what its uncompressed twin costs: before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from automl.compression.onnx.facts import graph_facts
from automl.evaluation.context import EvaluationContext
from automl.evaluation.weights import Trained, count_multiply_adds, count_parameters
from automl.models.deployable import Deployable
from automl.models.packing import read_model
from automl.outcome import Artefact, Measurement, Timing
from automl.targets.lanes import training_slot
from automl.targets.memory import peak_memory
from automl.targets.target import RemoteTarget

TWIN = "twin_"


@dataclass(frozen=True)
class Costs:
    """Bytes of a file, trained parameters (`nonzero` of them other than zero), and multiply-adds for one sample."""

    size_bytes: int
    parameters: int
    nonzero: int
    macs: int


def costs_of(network: Deployable, path: Path) -> Costs:
    """Return the costs of a network and its file; a network that is a file already is counted in it."""
    size, parameters = path.stat().st_size, count_parameters(network)
    if parameters == 0:
        facts = graph_facts(read_model(path))
        return Costs(size, facts.parameters, facts.parameters, facts.multiply_adds)
    nonzero = sum(int((parameter != 0).sum()) for parameter in network.parameters())
    return Costs(size, parameters, nonzero, count_multiply_adds(network))


def cost_figures(costs: Costs, artefact: str, device: str, prefix: str = "") -> tuple[Measurement, ...]:
    """Return the costs as measurements; `prefix` is put before the names ("twin_")."""
    figures: dict[str, tuple[int, str]] = {
        "size_bytes": (costs.size_bytes, "bytes of the file"),
        "parameters": (costs.parameters, "counted in the network"),
        "macs": (costs.macs, "counted in the network, batch 1"),
    }
    if costs.nonzero < 0.99 * costs.parameters:
        figures["nonzero_parameters"] = (costs.nonzero, "counted in the network")
    return _exact(figures, artefact, device, prefix)


def training_figures(trained: Trained, artefact: str, device: str) -> tuple[Measurement, ...]:
    """Return what the training took: seconds on its core, and the most memory that its process held meanwhile."""
    figures: dict[str, tuple[float, str]] = {"training_seconds": (trained.seconds, "clock time of the training")}
    if trained.peak_bytes > 0:
        figures["training_peak_bytes"] = (trained.peak_bytes, "rise of resident memory while it trained")
    return _exact(figures, artefact, device, "")


def memory_figures(
    path: Path, runtime: str, artefact: str, context: EvaluationContext, prefix: str = ""
) -> tuple[Measurement, ...]:
    """Return the peak memory of loading the file and running it once; nothing where the target is a recording."""
    if context.target.kind != "measured":
        return ()
    if isinstance(context.target, RemoteTarget):
        peak = context.target.peak_memory(path, runtime)
    else:
        with training_slot(context.lane_folder):
            peak = peak_memory(path, runtime)
    if peak is None:
        return ()
    how = "rise of resident memory in a fresh process that loads and runs the file once"
    return _exact({"peak_memory_bytes": (peak, how)}, artefact, context.target.fingerprint, prefix)


def file_figures(
    network: Deployable, trained: Trained | None, artefact: Artefact, runtime: str, context: EvaluationContext
) -> tuple[Measurement, ...]:
    """Return every cost of a deployed file but its latency."""
    path, device = context.runs / artefact.path, context.target.fingerprint
    training = () if trained is None else training_figures(trained, artefact.sha256, device)
    return (
        *cost_figures(costs_of(network, path), artefact.sha256, device),
        *memory_figures(path, runtime, artefact.sha256, context),
        *training,
    )


def twin_latency(timing: Timing, twin: str | None) -> tuple[Measurement, ...]:
    """Return the latency of the file `twin` (a SHA-256) in the session that held both against each other."""
    ratio = timing.twin_ratio
    if ratio is None or twin is None:
        return ()
    latency = timing.latency_ms
    bounds = (latency / ratio.high, latency / ratio.low)
    rounds = len(timing.samples_ms.get("twin", ()))
    how = f"{timing.protocol}; the candidate's latency over its ratio to the twin"
    return (
        Measurement(
            f"{TWIN}latency_ms",
            latency / ratio.value,
            timing.kind,
            how,
            *bounds,
            rounds,
            timing.device,
            twin,
        ),
    )


def _exact(
    figures: Mapping[str, tuple[float, str]], artefact: str, device: str, prefix: str
) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(prefix + name, float(value), "measured", how, float(value), float(value), 1, device, artefact)
        for name, (value, how) in figures.items()
    )
