"""The stages of a user's network: contiguous parts that each have one ratio and one precision.

A stage begins with the first layer of a module whose dotted path names it; the first one begins at the input, and what
stands between two of them belongs to the former. Where the user names none, a stage is what computes at one
resolution, moved back to the beginning of the outermost module in which the resolution falls; one with a single layer
joins the next, more than five join where they are smallest, fewer than three are halved at a module's beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from automl.errors import Fault, InputError
from automl.models.user.steps import Step

FEWEST, MOST = 3, 5


def stage_of_steps(steps: Sequence[Step], starts: Sequence[str]) -> dict[str, int]:
    """Return the stage of each step by its name; a module that no step is left of makes an empty stage."""
    first = module_starts(steps)
    begins = [first.get(path, len(steps)) for path in starts[1:]]
    return {step.name: sum(index >= begin for begin in begins) for index, step in enumerate(steps)}


def module_starts(steps: Sequence[Step]) -> dict[str, int]:
    """Return the index of the first step of each module by its dotted path, in order, outer modules first."""
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        for path in step.scope:
            first.setdefault(path, index)
    return first


def check_stages(steps: Sequence[Step], starts: Sequence[str]) -> None:
    """Check the modules that a user names.

    Raises:
        InputError: naming each that is no module of the traced network or does not come after the one before.
    """
    first = module_starts(steps)
    outer = ", ".join(dict.fromkeys(path for path in first if "." not in path))
    faults = [
        Fault("model.stages", f"modules with layers, such as {outer}", repr(path))
        for path in starts
        if path not in first
    ]
    for before, path in pairwise([path for path in starts if path in first]):
        if first[path] <= first[before]:
            faults.append(Fault("model.stages", "in the order in which they compute", f"{path!r} after {before!r}"))
    if faults or not starts:
        raise InputError(faults or [Fault("model.stages", "at least one module", "none")])


def find_stages(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the paths of the modules with which stages begin; see the head of this module."""
    cuts = _resolution_cuts(steps)
    cuts = _without_slivers(cuts, steps)
    while len(cuts) > MOST:
        sizes = _sizes(cuts, steps)
        smallest = min(range(len(cuts) - 1), key=lambda index: sizes[index] + sizes[index + 1])
        del cuts[smallest + 1]
    while len(cuts) < FEWEST:
        halved = _halved(cuts, steps)
        if halved == cuts:
            break
        cuts = halved
    names = _paths(steps)
    return tuple(names[index] for index in cuts)


def _paths(steps: Sequence[Step]) -> dict[int, str]:
    """Return the outermost module that begins at each index where one does."""
    names: dict[int, str] = {}
    for path, index in module_starts(steps).items():
        names.setdefault(index, path)
    return names


def _resolution_cuts(steps: Sequence[Step]) -> list[int]:
    """Return the indices at which the resolution falls, the first module's among them."""
    first = module_starts(steps)
    cuts = [min(first.values())]
    area = _area(steps[0])
    for index, step in enumerate(steps):
        if len(step.shape) != 3 or not 1 < _area(step) < area:  # a gate has one pixel, and is no stage
            continue
        area = _area(step)
        later = [first[path] for path in step.scope if first[path] > cuts[-1]]
        begins = later[0] if later else next((start for start in sorted(first.values()) if start > index), None)
        if begins is not None and begins > cuts[-1]:
            cuts.append(begins)
    return cuts


def _area(step: Step) -> int:
    return step.shape[1] * step.shape[2]


def _sizes(cuts: Sequence[int], steps: Sequence[Step]) -> list[int]:
    """Return the number of layers with weights in each stage."""
    bounds = [0, *cuts[1:], len(steps)]
    return [sum(step.has_weights() for step in steps[low:high]) for low, high in pairwise(bounds)]


def _without_slivers(cuts: list[int], steps: Sequence[Step]) -> list[int]:
    kept = list(cuts)
    while len(kept) > 1 and min(_sizes(kept, steps)) < 2:
        index = _sizes(kept, steps).index(min(_sizes(kept, steps)))
        del kept[min(index + 1, len(kept) - 1)]  # the last one joins the one before
    return kept


def _halved(cuts: list[int], steps: Sequence[Step]) -> list[int]:
    """Return the cuts with one more, in the middle of the stage with most layers, where a module begins."""
    sizes = _sizes(cuts, steps)
    bounds = [0, *cuts[1:], len(steps)]
    for stage in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        low, high = bounds[stage], bounds[stage + 1]
        inside = [start for start in _paths(steps) if low < start < high and start not in cuts]
        before = {start: sum(step.has_weights() for step in steps[low:start]) for start in inside}
        halves = {start: count for start, count in before.items() if 0 < count < sizes[stage]}
        if halves:
            middle = sizes[stage] / 2
            return sorted([*cuts, min(halves, key=lambda start: abs(halves[start] - middle))])
    return cuts


def stage_ends(steps: Sequence[Step], stages: Mapping[str, int], count: int) -> tuple[str, ...]:
    """Return the path of the module whose output ends each stage, a map rather than a vector where there is one.

    An empty stage ends where the one before does.
    """
    reach: dict[str, int] = {}  # the index of the last step of each module
    for index, step in enumerate(steps):
        for path in step.scope:
            reach[path] = index
    ends: list[str] = []
    for stage in range(count):
        own = [index for index, step in enumerate(steps) if stages[step.name] == stage and step.scope]
        maps = [index for index in own if len(steps[index].shape) == 3 and _area(steps[index]) > 1]
        last = (maps or own)[-1] if own else None
        ends.append(ends[-1] if last is None else _ending(steps[last], last, reach))
    return tuple(ends)


def _ending(step: Step, index: int, reach: Mapping[str, int]) -> str:
    """Return the outermost module that ends with a step; the norm where it is folded into a lone layer."""
    path = next((path for path in step.scope if reach[path] == index), step.scope[-1])
    return step.norm if path == step.module and step.norm else path


def droppable_modules(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the paths of the residual blocks around an identity shortcut: each can be an identity itself."""
    shapes = {step.name: step.shape for step in steps}
    sums = [step for step in steps if step.kind == "add" and step.scope]
    return tuple(dict.fromkeys(one.scope[-1] for one in sums if _is_residual(one, one.scope[-1], steps, shapes)))


def _is_residual(step: Step, block: str, steps: Sequence[Step], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    inside = {other.name for other in steps if block in other.scope}
    entries = {name for other in steps if other.name in inside for name in other.inputs} - inside
    exits = {name for other in steps if other.name not in inside for name in other.inputs} & inside
    if len(entries) != 1 or len(exits) != 1 or not entries <= set(step.inputs):
        return False
    return shapes[next(iter(entries))] == shapes[next(iter(exits))]
