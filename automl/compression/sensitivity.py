"""A sensitivity scan: what each stage loses in accuracy by each ratio and by each pair of bits, alone, untrained.

After Li et al., "Pruning Filters for Efficient ConvNets" (2017), section 3.2, and Dong et al., "HAWQ" (2019), with the
measured accuracy of the exported file in place of a proxy. The allocation that it suggests is a point of the search
space, to start a search from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from automl.candidate import QuantizationPlan
from automl.compression.criteria import Evidence, channel_importance
from automl.compression.pruning import kept_channels
from automl.models.deployable import Deployable

Pair = tuple[int, int]  # weight bits, activation bits
Score = Callable[[Deployable, QuantizationPlan], float]
FLOAT: Pair = (32, 32)


@dataclass(frozen=True)
class SensitivityScan:
    """Accuracies (shares of 1) with one stage changed and all others left alone, and the baseline without a change.

    `by_ratio[stage][ratio]` is with that share of the stage's channels removed, `by_bits[stage][pair]` with its weights
    and activations in that many bits. Ratios that round to no channel at all are not there.
    """

    baseline: float
    by_ratio: tuple[Mapping[float, float], ...]
    by_bits: tuple[Mapping[Pair, float], ...]


@dataclass(frozen=True)
class Allocation:
    """A ratio and a pair of bits for each stage, and the sum of the losses measured for them one at a time."""

    ratios: tuple[float, ...]
    bits: tuple[Pair, ...]
    expected_loss: float

    def to_choices(self) -> dict[str, float | str]:
        """Return the choices of the space's dimensions, "prune_0" and "bits_0" onwards."""
        choices: dict[str, float | str] = {f"prune_{stage}": ratio for stage, ratio in enumerate(self.ratios)}
        return choices | {f"bits_{stage}": f"w{weight}a{active}" for stage, (weight, active) in enumerate(self.bits)}


def scan(
    network: Deployable, ratios: Sequence[float], pairs: Sequence[Pair], score: Score,
    channel_multiple: int | Mapping[str, int], *, stages: Sequence[int] | None = None,
    criterion: str = "l1", evidence: Evidence | None = None,
) -> SensitivityScan:  # fmt: skip
    """Return what each stage loses by each ratio and each pair of bits.

    Args:
        network: trained, unpruned; left as it is.
        ratios: shares of a stage's channels to remove, above 0 and below 1.
        pairs: (weight bits, activation bits) that the target executes.
        score: the accuracy of the exported file of a network under a plan.
        channel_multiple: what kept widths are rounded to, or that of each coupled group.
        stages: the stage of each entry of a plan's kept widths (`UserModel.stages`); None where entries are stages.
        criterion: one of `criteria.CRITERIA`.
        evidence: what the criterion looks at.

    Raises:
        ValueError: where a ratio is out of range.
    """
    wrong = [ratio for ratio in ratios if not 0 < ratio < 1]
    if wrong:
        raise ValueError(f"a ratio of channels to remove must be above 0 and below 1, but got {wrong[0]:g}")
    count = len(network.stage_ends())
    plain = _plan([FLOAT] * count)
    groups = _groups_by_stage(network, range(count) if stages is None else stages, count) if ratios else [[]] * count

    def pruned(stage: int) -> Mapping[float, float]:
        accuracies: dict[float, float] = {}
        scored: dict[tuple[int, ...], float] = {}
        for ratio, widths in _narrower(network, groups[stage], sorted(ratios), channel_multiple):
            key = tuple(widths.values())
            if key not in scored:
                kept = kept_channels(channel_importance(network, widths, criterion, evidence), widths)
                scored[key] = score(network.narrowed(kept), plain)
            accuracies[ratio] = scored[key]
        return accuracies

    def quantized(stage: int) -> Mapping[Pair, float]:
        lower = [pair for pair in pairs if pair != FLOAT]
        return {pair: score(network, _plan([pair if at == stage else FLOAT for at in range(count)])) for pair in lower}

    return SensitivityScan(
        score(network, plain), tuple(pruned(stage) for stage in range(count)),
        tuple(quantized(stage) for stage in range(count)),
    )  # fmt: skip


def suggest(result: SensitivityScan, allowed_loss: float) -> Allocation:
    """Return the allocation that goes as far as the allowed loss of accuracy lets it.

    Greedy: of all changes of one stage to a stronger ratio or fewer bits, the one with the largest gain for each point
    that it loses is taken, again and again, while the losses, measured one at a time and taken to add up, stay within
    `allowed_loss` (a share of 1). The gain of a ratio is the share of the stage's channels that goes, that of a pair
    the share of its bits; a change that loses nothing comes first.
    """
    options = {("ratio", stage): _ratio_options(result, stage) for stage in range(len(result.by_ratio))}
    options |= {("bits", stage): _bit_options(result, stage) for stage in range(len(result.by_bits))}
    taken = {slot: choices[0] for slot, choices in options.items()}
    while True:
        room = allowed_loss - sum(option.loss for option in taken.values())
        moves = [
            (slot, option)
            for slot, choices in options.items()
            for option in choices
            if option.gain > taken[slot].gain and option.loss - taken[slot].loss <= room + 1e-12
        ]
        if not moves:
            break
        slot, option = max(moves, key=lambda move: _worth(taken[move[0]], move[1]))
        taken[slot] = option
    return Allocation(
        tuple(taken["ratio", stage].ratio for stage in range(len(result.by_ratio))),
        tuple(taken["bits", stage].pair for stage in range(len(result.by_bits))),
        sum(option.loss for option in taken.values()),
    )


def rounded_width(width: int, ratio: float, channel_multiple: int) -> int:
    """Return the channels of `width` that stay when the share `ratio` goes, as the search space rounds them.

    Half up to the multiple, at least one multiple, at most `width`.
    """
    asked = width * (1 - Fraction(str(ratio))) / channel_multiple
    return min(max(math.floor(asked + Fraction(1, 2)) * channel_multiple, channel_multiple), width)


@dataclass(frozen=True)
class _Option:
    gain: float
    loss: float
    ratio: float = 0.0
    pair: Pair = FLOAT


def _ratio_options(result: SensitivityScan, stage: int) -> list[_Option]:
    measured = result.by_ratio[stage].items()
    return [_Option(0, 0), *(_Option(ratio, _loss(result, got), ratio=ratio) for ratio, got in measured)]


def _bit_options(result: SensitivityScan, stage: int) -> list[_Option]:
    measured = result.by_bits[stage].items()
    return [_Option(0, 0), *(_Option(1 - sum(pair) / 64, _loss(result, got), pair=pair) for pair, got in measured)]


def _loss(result: SensitivityScan, accuracy: float) -> float:
    return max(result.baseline - accuracy, 0.0)


def _worth(before: _Option, after: _Option) -> tuple[float, float]:
    """Return the gain for each point lost, then the gain: what loses nothing is worth most."""
    gain = after.gain - before.gain
    return (gain / max(after.loss - before.loss, 1e-9), gain)


def _plan(pairs: Sequence[Pair]) -> QuantizationPlan:
    return QuantizationPlan(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def _groups_by_stage(network: Deployable, stages: Sequence[int], count: int) -> list[list[str]]:
    """Return the coupled groups of each stage; which entry of a plan a group follows is asked of the network."""
    numbered = network.groups_kept(range(1, len(stages) + 1))
    return [[group for group, entry in numbered.items() if stages[entry - 1] == stage] for stage in range(count)]


def _narrower(
    network: Deployable, groups: Sequence[str], ratios: Sequence[float], channel_multiple: int | Mapping[str, int]
) -> Iterator[tuple[float, dict[str, int]]]:
    """Yield each ratio that takes a channel of these groups, and the widths that all groups then keep."""
    full = network.group_widths()
    multiples = dict.fromkeys(groups, channel_multiple) if isinstance(channel_multiple, int) else channel_multiple
    for ratio in ratios:
        widths = full | {group: rounded_width(full[group], ratio, multiples[group]) for group in groups}
        if widths != full:
            yield ratio, widths
