"""The steps of a traced network: what a writer is told, normalisation and activations already joined to layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from automl.errors import Fault
from automl.models.user.reading import CONVOLUTION, IDENTITY, LINEAR, NORM, UnsupportedError, read_call, works_in_place
from automl.models.user.tracing import LINE, REMEDY, Call, UntraceableError, trace_calls

ACTIVATED = (CONVOLUTION, LINEAR, NORM, "add")  # what an activation can be joined to
EXPECTED = "one that can be written node by node"


@dataclass(frozen=True)
class Step:
    """One operation and what is joined to it.

    `name` is unique and names the site of its output; `inputs` are the names of earlier steps; `module` is the dotted
    path of the layer, empty for a function; `scope` holds the paths of the modules around it, outermost first; `shape`
    is that of its output without the batch. `norm` is the path of the batch normalisation that is folded in.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    module: str
    scope: tuple[str, ...]
    shape: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    norm: str = ""
    activation: str = "none"

    def has_weights(self) -> bool:
        """Tell whether the step is a convolution or a linear layer."""
        return self.kind in (CONVOLUTION, LINEAR)


def read_steps(module: nn.Module, image_shape: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps of a classifier of images, the input first and the linear classifier last.

    Args:
        module: maps `n x channels x h x w` to `n x classes`; its mode is left as it is.
        image_shape: channels x height x width.

    Raises:
        UntraceableError: naming every operation that cannot be written, with its layer and line.
    """
    training = module.training
    try:
        calls = trace_calls(module.eval(), image_shape)
        steps = _joined(_without_identities(_read(module, calls)))
    finally:
        module.train(training)
    return _checked(steps)


def _read(module: nn.Module, calls: Sequence[Call]) -> list[Step]:
    """Return a step for each call that gives a tensor."""
    values = {call.node.name: call.value for call in calls}
    modules = dict(module.named_modules())
    steps: list[Step] = []
    faults: list[Fault] = []
    for position, call in enumerate(calls):
        in_place = works_in_place(call.node, modules)
        if not isinstance(call.value, torch.Tensor) or not (call.alive or in_place):
            continue
        try:
            kind, settings = read_call(call, values, modules)
            if in_place and _read_again(call, calls[position + 1 :]):
                raise UnsupportedError("an operation in place whose input is read again")
        except UnsupportedError as error:
            faults.append(_fault(call, str(error)))
            continue
        if not call.alive:
            continue
        inputs = tuple(node.name for node in call.node.all_input_nodes if isinstance(values[node.name], torch.Tensor))
        layer = str(call.node.target) if call.node.op == "call_module" else ""
        steps.append(Step(call.node.name, kind, inputs, layer, call.scope, tuple(call.value.shape[1:]), settings))
    if faults:
        raise UntraceableError(faults)
    return steps


def _read_again(call: Call, later: Iterable[Call]) -> bool:
    """Tell whether what a call overwrites is an input of a later one."""
    overwritten = call.node.all_input_nodes[0]
    return any(overwritten in other.node.all_input_nodes for other in later)


def _fault(call: Call, got: str) -> Fault:
    where = call.scope[-1] if call.scope else "the model"
    line = call.node.meta[LINE]
    return Fault(f"{where}{f' ({line})' if line else ''}", EXPECTED, got, REMEDY)


def _without_identities(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with what changes nothing taken out."""
    stands_for: dict[str, str] = {}
    kept = []
    for step in steps:
        inputs = tuple(stands_for.get(name, name) for name in step.inputs)
        if step.kind == IDENTITY:
            stands_for[step.name] = inputs[0]
        else:
            kept.append(replace(step, inputs=inputs))
    return kept


def _joined(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with norms folded into layers, activations into what they follow, and pools into one."""
    readers: dict[str, int] = {}
    for step in steps:
        for name in step.inputs:
            readers[name] = readers.get(name, 0) + 1
    joined: dict[str, Step] = {}
    stands_for: dict[str, str] = {}
    for original in steps:
        step = replace(original, inputs=tuple(stands_for.get(name, name) for name in original.inputs))
        before = joined.get(step.inputs[0]) if step.inputs else None
        alone = before is not None and readers[original.inputs[0]] == 1
        merged = _merged(before, step) if before is not None and alone else None
        if before is None or merged is None:
            joined[step.name] = step
        else:
            joined[before.name] = merged
            stands_for[step.name] = before.name
    return tuple(joined.values())


def _merged(before: Step, step: Step) -> Step | None:
    """Return the one step that does both, None where there is none."""
    plain = before.activation == "none"
    if step.kind == NORM and before.has_weights() and plain and not before.norm:
        return replace(before, norm=step.module)
    if step.kind == "activation" and before.kind in ACTIVATED and plain:
        return replace(before, activation=step.settings["activation"])
    if step.kind == "flatten" and before.kind == "full_pool":
        return replace(before, kind="global_average_pool", shape=step.shape)
    return None


def _checked(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps of a whole classifier.

    Raises:
        UntraceableError: where it has several inputs, does not end in a linear layer, or pools what is not square.
    """
    faults = []
    last = steps[-1]
    if [step.kind for step in steps].count("input") != 1:
        faults.append(Fault("the model", "a function of one tensor of images", "several inputs that are read", REMEDY))
    if last.kind != LINEAR or last.activation != "none" or last.norm:
        faults.append(Fault("the model's last layer", "linear, giving logits", last.module or last.kind, REMEDY))
    shapes = {step.name: step.shape for step in steps}
    for step in steps:
        if step.kind == "full_pool" and shapes[step.inputs[0]][1] != shapes[step.inputs[0]][2]:
            got = f"a pool of a whole {shapes[step.inputs[0]][1:]} map that keeps its axes"
            faults.append(Fault(step.module or step.name, EXPECTED, got, REMEDY))
    if faults:
        raise UntraceableError(faults)
    return steps
