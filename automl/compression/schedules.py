"""When how much is pruned: the steps of a plan during training, and pruning until a floor where there is no plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from automl.candidate import PruningPlan
from automl.compression.criteria import Evidence
from automl.compression.pruning import prune_network
from automl.models.deployable import Deployable

ONE_SHOT_AT = 0.4  # of the epochs are done
FIRST_AT, LAST_AT = 0.2, 0.5  # where schedules of several steps begin and end: the second half heals
STEPS: Mapping[str, int] = {"iterative": 4, "gradual": 10, "adaptive": 4}
SCHEDULES = ("one_shot", "at_start", *STEPS)
FIRST_SHARE = 0.25  # of what is left to prune, where no drop was measured yet

Widths = tuple[int, ...]
Multiples = int | Sequence[int]  # the channel multiple of every width, or one for each (a head of attention counts 1)


@dataclass(frozen=True)
class PruningStep:
    """One pruning: when `at` of the epochs are done, to these widths, with this share of the weights zero after it."""

    at: float
    kept_widths: tuple[int, ...]
    sparsity: float


@dataclass(frozen=True)
class PruningRound:
    """What one round of `prune_until` tried: the widths, the accuracy after fine-tuning, whether the floor held."""

    kept_widths: tuple[int, ...]
    accuracy: float
    held: bool


@dataclass(frozen=True)
class PrunedUntil:
    """The last network that held the floor, its widths, and every round in order."""

    network: Deployable
    kept_widths: tuple[int, ...]
    history: tuple[PruningRound, ...]


def cubic_sparsity(progress: float, final: float) -> float:
    """Return the share pruned at `progress` (0 to 1) of the way to `final`: fast first, slower near the end.

    Zhu and Gupta, "To Prune, or Not to Prune" (2017), eq. 1 from a sparsity of 0.
    """
    return final * (1 - (1 - min(max(progress, 0.0), 1.0)) ** 3)


def pruning_steps(
    plan: PruningPlan, full_widths: Sequence[int], channel_multiple: Multiples
) -> tuple[PruningStep, ...]:
    """Return the steps of the plan's schedule; the last one ends at the plan's widths and sparsity.

    - `one_shot`: a single step at 0.4 of the epochs.
    - `at_start`: a single step before the first epoch: what counts is the structure, and every second trains the small
      network (Liu et al., "Rethinking the Value of Network Pruning", 2019).
    - `iterative`: up to four equal steps between 0.2 and 0.5.
    - `gradual`: ten steps there along the cubic curve, of the widths and of the sparsity.
    - `adaptive`: the places of `iterative`; at each but the last one the widths are those that `next_step` says from
      the measured drop, and the ones given here are the widest that may remain.

    Layers are replaced and a 2:4 pattern is laid at the last step, when the channels are final. Steps that would
    change nothing are left out, but for `adaptive`.

    Args:
        plan: what is pruned and how.
        full_widths: before pruning, in the order of `plan.kept_widths`.
        channel_multiple: what widths on the way are rounded up to.

    Raises:
        ValueError: where the schedule is unknown, or a kept width is below one or above the full one.
    """
    _check(plan, full_widths)
    if plan.schedule == "one_shot":
        return (PruningStep(ONE_SHOT_AT, plan.kept_widths, plan.sparsity),)
    if plan.schedule == "at_start":
        return (PruningStep(0.0, plan.kept_widths, plan.sparsity),)
    count = STEPS[plan.schedule]
    steps: list[PruningStep] = []
    for number in range(1, count + 1):
        progress = number / count
        share = cubic_sparsity(progress, 1.0) if plan.schedule == "gradual" else progress
        widths = _towards(full_widths, plan.kept_widths, share, channel_multiple)
        at = FIRST_AT + (LAST_AT - FIRST_AT) * (number - 1) / (count - 1)
        step = PruningStep(at, widths, _sparsity_at(plan, share))
        before = (steps[-1].kept_widths, steps[-1].sparsity) if steps else (tuple(full_widths), 0.0)
        if (step.kept_widths, step.sparsity) != before or number == count or plan.schedule == "adaptive":
            steps.append(step)
    return tuple(steps)


def next_step(
    current: Sequence[int], final: Sequence[int], drop: float | None, *, channel_multiple: Multiples,
    tolerated: float = 0.01,
) -> tuple[int, ...]:  # fmt: skip
    """Return the next widths on the way from `current` to `final`, bolder the less the last step cost.

    The share t / (t + drop) of what is left goes, t being `tolerated`: all of it where nothing was lost, half after a
    drop of t. Every width that has not arrived moves by a multiple at least, so the end is always reached.

    Args:
        current: widths now.
        final: planned widths, none above the current ones.
        drop: accuracy on validation before the last step less that after it (a share of 1); None before the first one,
            when a quarter of the way is taken.
        channel_multiple: what widths on the way are multiples of.
        tolerated: the drop that halves the step, a share of 1.
    """
    share = FIRST_SHARE if drop is None else tolerated / (tolerated + max(drop, 0.0))
    asked = _towards(current, final, share, channel_multiple)
    steps = zip(current, _multiples(channel_multiple, len(current)), strict=True)
    least = [(math.ceil(width / step) - 1) * step for width, step in steps]
    return tuple(max(min(pair), last) for *pair, last in zip(asked, least, final, strict=True))


def prune_until(
    network: Deployable, widths: Sequence[int], final: Sequence[int], *, floor: float, channel_multiple: Multiples,
    fine_tune: Callable[[Deployable], None], score: Callable[[Deployable], float], schedule: str = "iterative",
    rounds: int = 4, criterion: str = "l1", evidence: Evidence | None = None,
) -> PrunedUntil:  # fmt: skip
    """Prune and fine-tune in turn until the final widths are reached or the accuracy falls below the floor.

    `iterative` takes equal steps and ends with the first that does not hold. `adaptive` takes steps that `next_step`
    sizes by the measured drop; after one that does not hold it halves the way between what held and what did not, down
    to one multiple.

    Args:
        network: trained, at `widths`; left as it is.
        widths: its widths by stage (of a user's model: by group).
        final: the widths at which to stop.
        floor: the lowest accuracy on validation that will do, a share of 1.
        channel_multiple: what widths on the way are multiples of.
        fine_tune: trains a pruned network in place.
        score: the accuracy of a network on validation data.
        schedule: "iterative" or "adaptive".
        rounds: how many equal steps `iterative` takes at most.
        criterion: one of `criteria.CRITERIA`.
        evidence: what the criterion looks at.

    Raises:
        ValueError: where the schedule is neither, or widths are out of range.
    """
    if schedule not in ("iterative", "adaptive"):
        raise ValueError(f"schedule must be iterative or adaptive without a plan of epochs, but got {schedule!r}")
    _check(PruningPlan(tuple(final), schedule=schedule), widths)
    way = _way(widths, final, rounds, channel_multiple) if schedule == "iterative" else None
    held, current, accuracy, history = network, tuple(widths), score(network), list[PruningRound]()
    failed: Widths | None = None
    asked = _onwards(way, current, final, None, channel_multiple)
    while asked is not None:
        pruned = prune_network(held, asked, criterion, evidence)
        fine_tune(pruned)
        got = score(pruned)
        history.append(PruningRound(asked, got, got >= floor))
        drop = accuracy - got
        if got >= floor:
            held, current, accuracy = pruned, asked, got
        elif way is not None:
            break
        else:
            failed = asked
        if failed is None:
            asked = _onwards(way, current, final, drop, channel_multiple)
        else:
            half = _towards(current, failed, 0.5, channel_multiple)
            asked = None if half == current else half
    return PrunedUntil(held, current, tuple(history))


def _way(start: Sequence[int], final: Sequence[int], rounds: int, multiple: Multiples) -> list[Widths]:
    """Return the different widths after each of `rounds` equal steps."""
    return list(dict.fromkeys(_towards(start, final, n / rounds, multiple) for n in range(1, rounds + 1)))


def _onwards(
    way: list[Widths] | None, current: Widths, final: Sequence[int], drop: float | None, multiple: Multiples
) -> Widths | None:
    """Return the widths after the current ones: on the planned way, or by the measured drop; None at the end."""
    if current == tuple(final):
        return None
    if way is None:
        return next_step(current, final, drop, channel_multiple=multiple)
    return next(widths for widths in way if widths != current and all(map(int.__le__, widths, current)))


def _towards(start: Sequence[int], final: Sequence[int], share: float, multiple: Multiples) -> Widths:
    """Return the widths at `share` of the way, rounded up to multiples, between start and final."""
    widths = []
    for first, last, step in zip(start, final, _multiples(multiple, len(start)), strict=True):
        rounded = math.ceil((first - share * (first - last)) / step - 1e-9) * step
        widths.append(last if share >= 1 else min(max(rounded, last), first))
    return tuple(widths)


def _multiples(multiple: Multiples, count: int) -> Sequence[int]:
    return (multiple,) * count if isinstance(multiple, int) else multiple


def _sparsity_at(plan: PruningPlan, share: float) -> float:
    if plan.pattern == "2:4":  # a pattern has one share only
        return plan.sparsity if share >= 1 else 0.0
    return plan.sparsity * share


def _check(plan: PruningPlan, full_widths: Sequence[int]) -> None:
    if plan.schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, but got {plan.schedule!r}")
    if len(plan.kept_widths) != len(full_widths):
        raise ValueError(f"there must be {len(full_widths)} kept widths, but got {len(plan.kept_widths)}")
    for index, (kept, full) in enumerate(zip(plan.kept_widths, full_widths, strict=True)):
        if not 1 <= kept <= full:
            raise ValueError(f"kept width {index} must be between 1 and {full}, but got {kept}")
