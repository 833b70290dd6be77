"""Open a user's model in the form that can do most: traced by us, exported by torch, or the ONNX file as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from automl.candidate import UserModel
from automl.compression.opaque import OnnxFile, Opaque
from automl.errors import Fault, InputError, input_error
from automl.models.deployable import Deployable, Emitted, Task
from automl.models.user.coupled import Coupled, Normalised, image_shape
from automl.models.user.groups import ChannelGroup, Coupling
from automl.models.user.source import ModelSource, build_with_notes, describe, module_digest
from automl.models.user.surgery import surgery_error
from automl.models.user.traced import TracedModel
from automl.models.user.tracing import TRACE_FAILURES, UntraceableError

PREFIX = "module.model."  # of the user's own names in an opaque model of images
EXACT = 1e-9  # of the largest answer, in double precision


@dataclass(frozen=True)
class OpenedModel:
    """A user's whole network over raw samples, and how it becomes a file: "traced", "opaque" or "onnx".

    `reason` says why we do not write its graph ourselves, "" where we do; `notes` what was done to the module.
    """

    network: Deployable
    kind: str
    digest: str
    reason: str
    notes: tuple[str, ...] = ()


class OpaqueModel(Coupled, Opaque):
    """A user's image classifier that torch exports as a whole, its channels found and removed by Torch-Pruning.

    Args:
        module: of `n x channels x h x w` float images; taken as it is, not copied.
        task: image classification; its mean and deviation normalise the pixels.
        stages: paths of modules, see `Opaque`.
    """

    def __init__(self, module: nn.Module, task: Task, stages: tuple[str, ...] = ()) -> None:
        Opaque.__init__(self, Normalised(module, task), task, tuple(f"model.{stage}" for stage in stages))
        self.own_stages = stages

    def own_module(self) -> nn.Module:
        """Return the user's module."""
        assert isinstance(self.module, Normalised)
        return self.module.model

    def own_prefix(self) -> str:
        """Return what stands before the user's names."""
        return PREFIX

    def around(self, module: nn.Module) -> OpaqueModel:
        """Return the network around another form of the user's module."""
        return OpaqueModel(module, self.task, self.own_stages)

    def find_coupling(self) -> Coupling:
        """Return the groups whose removal is exact: of operations that it has no rule for, a trace only guesses."""
        found = super().find_coupling()
        wrong = self._inexact(found.groups)
        reason = "its removal changes other channels' answers"
        exact = tuple(group for group in found.groups if group.name not in wrong)
        return Coupling(exact, {**found.whole, **dict.fromkeys(wrong, reason)})

    def _inexact(self, groups: tuple[ChannelGroup, ...]) -> tuple[str, ...]:
        """Return the groups that cannot be halved exactly, each tried alone where all of them together are wrong."""
        if not groups or self._is_exact(groups):
            return ()
        exact = tuple(group for group in groups if self._is_exact((group,)))
        if exact and not self._is_exact(exact):
            exact = ()
        return tuple(group.name for group in groups if group not in exact)

    def _is_exact(self, groups: tuple[ChannelGroup, ...]) -> bool:
        try:
            error = surgery_error(self.own_module(), groups, halved(groups), image_shape(self.task))
        except TRACE_FAILURES:
            return False
        return error <= EXACT


def halved(groups: tuple[ChannelGroup, ...]) -> dict[str, torch.Tensor]:
    """Return every other channel of each group: what surgery is tried with."""
    return {group.name: torch.arange(0, group.width, 2) for group in groups}


def open_user_model(source: ModelSource, task: Task) -> Deployable:
    """Return the user's whole network over raw samples, with its given weights, or fresh ones from torch's generator.

    Raises:
        InputError: see `open_source`.
    """
    return open_source(source, task).network


def describe_user_model(
    source: ModelSource, task: Task, channel_multiple: int = 1
) -> tuple[UserModel, Mapping[str, int]]:
    """Return what of a user's model can be chosen, and what the kept widths of some groups must be multiples of.

    Args:
        source: opened for this.
        task: of the data.
        channel_multiple: of the target; groups that are not named keep to it.

    Raises:
        InputError: see `open_source`.
    """
    opened = open_source(source, task)
    multiples_of = getattr(opened.network, "group_multiples", None)
    multiples: Mapping[str, int] = {} if multiples_of is None else multiples_of(channel_multiple)
    return describe(opened.network, source.name, opened.digest, opened.kind), multiples


def open_source(source: ModelSource, task: Task) -> OpenedModel:
    """Return the user's model, opened.

    An ONNX file can be quantized, optimised and timed, not pruned. A convolutional network that can be traced is
    written by us, with bits and ratios by stage; any other module is exported by torch, in one stage where none are
    named. A factory may also build a `Deployable` of its own.

    Raises:
        InputError: where it cannot be built or does not fit the task, see `build_module`; where `weights` or `stages`
            are given for what has none of its own.
    """
    if source.is_file:
        return _open_file(source, task)
    module, notes = build_with_notes(source, task)
    if isinstance(module, Deployable):
        if source.stages is not None:
            raise input_error("model.stages", "absent for a model that has its own", list(source.stages))
        kind = "traced" if isinstance(module, Emitted) else "opaque"
        return OpenedModel(module, kind, module_digest(source, module, None), "", notes)
    if len(task.input_shape) == 1:
        stages = _known_stages(source, module)
        reason = "it classifies texts"
        return OpenedModel(Opaque(module, task, stages), "opaque", module_digest(source, module, None), reason, notes)
    try:
        network = TracedModel(module, task, source.stages)
    except UntraceableError as error:
        opaque = OpaqueModel(module, task, _known_stages(source, module))
        opaque.groups()  # found once: copies of the network share them
        return OpenedModel(opaque, "opaque", module_digest(source, module, None), str(error), notes)
    network.groups()
    return OpenedModel(network, "traced", module_digest(source, module, network.steps), "", notes)


def _known_stages(source: ModelSource, module: nn.Module) -> tuple[str, ...]:
    """Return the stages that a user names for a module that cannot be traced.

    Raises:
        InputError: naming each that is no module.
    """
    known = dict(module.named_modules())
    outer = ", ".join(name for name, _ in module.named_children())
    given = source.stages or ()
    faults = [Fault("model.stages", f"modules, such as {outer}", repr(path)) for path in given if path not in known]
    if faults:
        raise InputError(faults)
    return given


def _open_file(source: ModelSource, task: Task) -> OpenedModel:
    path = Path(source.source)
    if source.weights is not None:
        raise input_error("model.weights", "absent where the source is an ONNX file, which holds them", source.weights)
    if not path.is_file():
        raise input_error("model.source", "an ONNX file", f"{path}, which is no file")
    content = path.read_bytes()
    network = OnnxFile(content, task, source.stages or ())
    return OpenedModel(network, "onnx", hashlib.sha256(content).hexdigest()[:16], "an ONNX file is taken as it is")
