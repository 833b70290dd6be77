"""Files of an evaluation: content-addressed artefacts that stay, nominal files that are timed and thrown away."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import torch

from automl.candidate import Candidate
from automl.evaluation.context import EvaluationContext, seed_of, task_of
from automl.models.network import build_network
from automl.outcome import Artefact
from automl.targets.target import Contestant, Control


def keep_file(content: bytes, runs: Path, kind: str = "artefacts", suffix: str = ".onnx") -> Artefact:
    """Write a file under its own hash and return where; an interrupted write leaves no file of that name."""
    sha256 = hashlib.sha256(content).hexdigest()
    relative = Path(kind) / f"{sha256}{suffix}"
    path = runs / relative
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    return Artefact(sha256, relative.as_posix(), len(content))


def nominal_file(candidate: Candidate, context: EvaluationContext) -> bytes:
    """Return the untrained candidate's file: the graph that its trained file will have, with other constants."""
    torch.manual_seed(seed_of(context.seed, candidate))
    network = build_network(candidate, task_of(context.dataset), pruned=True)
    return network.write(candidate.quantization, codes=None, largest_code=context.largest_code, batch=context.batch)


def contestant(content: bytes, candidate: Candidate, context: EvaluationContext, folder: Path) -> Contestant:
    """Write a file into `folder` and return it ready for timing."""
    artefact = keep_file(content, folder, "timed")
    key = candidate.shape_key(context.dataset.input_shape, len(context.dataset.classes), context.batch)
    return Contestant(folder / artefact.path, artefact.sha256, key)


def control_for(candidate: Candidate, context: EvaluationContext) -> Control:
    """Return the control of the candidate's kind: int8 where most stages compute in integers."""
    integer = sum(bits == 8 for bits in candidate.quantization.activation_bits)
    return context.controls["int8" if 2 * integer > len(candidate.quantization.activation_bits) else "fp32"]
