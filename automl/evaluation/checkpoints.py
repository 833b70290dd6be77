"""Checkpoints: partly trained networks on disk, under their content's hash, from which the next rung goes on.

One holds all that a later process needs: the weights at the final structure, the codes that were learned, and how they
came about (the curve, the seconds, notes), so that a lean record is enough to go on from. Safetensors; no pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automl.candidate import Candidate
from automl.evaluation.context import EvaluationContext
from automl.evaluation.files import keep_file
from automl.evaluation.networks import nominal_network
from automl.evaluation.weights import Trained
from automl.models.number_formats import Codes, Range
from automl.outcome import Artefact, Epoch

FOLDER, SUFFIX = "checkpoints", ".safetensors"
WEIGHT, SCALE = "weight:", "scale:"  # of the names of tensors: of the network, or learned scales of a site
FACTS = "automl"


class LostCheckpointError(Exception):
    """A checkpoint that is not there, or not what was written; says in a few words which."""


@dataclass(frozen=True)
class Checkpoint:
    """A training that was interrupted at a rung: what came of its first `epochs` epochs, and notes for a person."""

    trained: Trained
    epochs: int
    notes: tuple[str, ...] = ()


def keep_checkpoint(checkpoint: Checkpoint, candidate: Candidate, runs: Path) -> Artefact:
    """Write a checkpoint into the run folder and return where."""
    from safetensors.torch import save

    trained, codes = checkpoint.trained, checkpoint.trained.codes
    state = trained.network.state_dict()
    tensors = {WEIGHT + name: value.detach().clone().contiguous() for name, value in state.items()}
    facts: dict[str, Any] = {
        "candidate": candidate.candidate_hash(), "epochs": checkpoint.epochs, "notes": list(checkpoint.notes),
        "curve": [asdict(epoch) for epoch in trained.curve], "seconds": trained.seconds,
        "peak_bytes": trained.peak_bytes, "ranges": None,
    }  # fmt: skip
    if codes is not None:
        facts["ranges"] = {site: [one.low, one.high] for site, one in codes.ranges.items()}
        scales = codes.weight_scales.items()
        tensors |= {SCALE + site: torch.from_numpy(np.array(value)) for site, value in scales}
    return keep_file(save(tensors, {FACTS: json.dumps(facts, sort_keys=True)}), runs, FOLDER, SUFFIX)


def read_checkpoint(artefact: Artefact, candidate: Candidate, context: EvaluationContext) -> Checkpoint:
    """Return the checkpoint with the candidate's network at its final structure, every weight as it was.

    Raises:
        LostCheckpointError: where the file is missing or damaged, or its weights are not those of this candidate.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = (context.runs / artefact.path).read_bytes()
    except OSError:
        raise LostCheckpointError("is missing") from None
    if hashlib.sha256(content).hexdigest() != artefact.sha256:
        raise LostCheckpointError("is damaged")
    try:
        facts, tensors = _facts(content), load(content)
    except (SafetensorError, ValueError, KeyError):
        raise LostCheckpointError("is no checkpoint") from None
    if facts["candidate"] != candidate.candidate_hash():
        raise LostCheckpointError("is that of another candidate")
    network = nominal_network(candidate, context)
    try:
        network.load_state_dict(_named(tensors, WEIGHT))
    except RuntimeError:
        raise LostCheckpointError("does not fit the network") from None
    curve = tuple(Epoch(**epoch) for epoch in facts["curve"])
    trained = Trained(network.eval(), _codes(facts["ranges"], tensors), curve, facts["seconds"], facts["peak_bytes"])
    return Checkpoint(trained, facts["epochs"], tuple(facts["notes"]))


def continued(before: Checkpoint | None, trained: Trained) -> Trained:
    """Return a training joined to what was trained before it: one curve, all seconds."""
    if before is None:
        return trained
    first = before.trained
    return replace(
        trained,
        curve=(*first.curve, *trained.curve),
        seconds=first.seconds + trained.seconds,
        peak_bytes=max(first.peak_bytes, trained.peak_bytes),
    )


def _facts(content: bytes) -> Mapping[str, Any]:
    """Return what a file says of itself: its header begins with its own length in eight bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts: Mapping[str, Any] = json.loads(header["__metadata__"][FACTS])
    return facts


def _named(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _codes(ranges: Mapping[str, tuple[float, float]] | None, tensors: Mapping[str, torch.Tensor]) -> Codes | None:
    if ranges is None:
        return None
    scales = {site: value.numpy() for site, value in _named(tensors, SCALE).items()}
    return Codes({site: Range(low, high) for site, (low, high) in ranges.items()}, scales)
