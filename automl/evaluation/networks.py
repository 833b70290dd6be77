"""A candidate's network: our cells, or the user's own model opened once in each process."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from automl.candidate import Candidate, Genotype, UserModel
from automl.compression.pruning import nominal_structure
from automl.evaluation.context import EvaluationContext, seed_of, task_of
from automl.models.deployable import Deployable, Task
from automl.models.network import build_network
from automl.models.packing import pack
from automl.models.user.source import ModelSource
from automl.targets.openvino_session import ask_for_sixteen_bits


def unpruned_network(candidate: Candidate, context: EvaluationContext) -> Deployable:
    """Return the candidate's network at its full widths: cells with fresh weights, a user's model with its own.

    torch's seed decides fresh weights; a user's model without given weights has those of the study's first opening.
    """
    if isinstance(candidate.genotype, Genotype):
        return build_network(candidate, task_of(context.dataset), pruned=False)
    return copy.deepcopy(_opened(_source(candidate.genotype, context), task_of(context.dataset), context.seed))


def nominal_network(candidate: Candidate, context: EvaluationContext) -> Deployable:
    """Return the untrained network with everything structural of its plan: the graph of the trained one."""
    torch.manual_seed(seed_of(context.seed, candidate))
    cells = isinstance(candidate.genotype, Genotype)
    network = (
        build_network(candidate, task_of(context.dataset), pruned=True)
        if cells
        else unpruned_network(candidate, context)
    )
    return nominal_structure(network, candidate.pruning)


def as_deployed(content: bytes, candidate: Candidate) -> bytes:
    """Return the file as it is deployed: told to compute in sixteen bits, packed, or as it is."""
    if 16 in candidate.quantization.activation_bits:
        content = ask_for_sixteen_bits(content)
    return pack(content) if candidate.is_entropy_coded() else content


def kept_network(path: Path, candidate: Candidate, context: EvaluationContext) -> Deployable:
    """Return the unpruned network of a candidate with the weights that lie in an .npz file."""
    network = unpruned_network(candidate, context)
    with np.load(path, allow_pickle=False) as arrays:
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return network.eval()


def has_given_weights(candidate: Candidate, context: EvaluationContext) -> bool:
    """Tell whether the candidate's unpruned network comes trained."""
    return isinstance(candidate.genotype, UserModel) and _source(candidate.genotype, context).is_trained()


def _source(model: UserModel, context: EvaluationContext) -> ModelSource:
    """Return where a user's model comes from: it is the study's, or its teacher's."""
    known = [source for source in (context.model, context.teacher_model) if source is not None]
    found = [source for source in known if source.name == model.name]
    assert found, f"{model.name} is a model of the study"
    return found[0]


@lru_cache(maxsize=2)
def _opened(source: ModelSource, task: Task, seed: int) -> Deployable:
    from automl.compression.user_model import open_user_model

    torch.manual_seed(seed)
    return open_user_model(source, task)
