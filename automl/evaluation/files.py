"""Files of an evaluation: content-addressed artefacts that stay, nominal files that are timed and thrown away."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from automl.candidate import Candidate
from automl.compression.masks import sparsify
from automl.evaluation.context import EvaluationContext
from automl.evaluation.networks import as_deployed, nominal_network
from automl.models.packing import SUFFIX
from automl.outcome import Artefact
from automl.targets.target import Contestant, Control, control_kind

XZ, PLAIN_SUFFIX = b"\xfd7zXZ\x00", ".onnx"


def keep_file(content: bytes, runs: Path, kind: str = "artefacts", suffix: str | None = None) -> Artefact:
    """Write a file under its own hash and return where; an interrupted write leaves no file of that name.

    Without a `suffix` it is a network's file, packed or plain.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    if suffix is None:
        suffix = SUFFIX if content.startswith(XZ) else PLAIN_SUFFIX
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
    plan = candidate.quantization
    network = nominal_network(candidate, context)
    if candidate.pruning.sparsity > 0:
        sparsify(network, candidate.pruning.sparsity, candidate.pruning.pattern)
    content = network.write(plan, codes=None, largest_code=context.largest_code, batch=context.batch)
    return as_deployed(content, candidate)


def contestant(content: bytes, candidate: Candidate, context: EvaluationContext, folder: Path) -> Contestant:
    """Write a file into `folder` and return it ready for timing."""
    artefact = keep_file(content, folder, "timed")
    key = candidate.shape_key(context.dataset.input_shape, len(context.dataset.classes), context.batch)
    return Contestant(folder / artefact.path, artefact.sha256, key, candidate.runtime)


def control_for(candidate: Candidate, context: EvaluationContext) -> Control:
    """Return the control of the candidate's runtime and kind: int8 where most stages compute in integers."""
    integer = sum(bits == 8 for bits in candidate.quantization.activation_bits)
    precision = "int8" if 2 * integer > len(candidate.quantization.activation_bits) else "fp32"
    return context.controls[control_kind(candidate.runtime, precision)]
