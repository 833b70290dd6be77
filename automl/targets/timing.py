"""The timing protocol: openers of contestants go in, samples and ratios with their intervals come out.

The raw time of one network drifts by 1.3 to 2 times within minutes, its ratio to a control that is run in the same
breath does not. So contestants take turns in rounds, in a new random order each, a round keeps the fastest of a few
repeats, and what is reported is the median over rounds of the ratio within a round. Two sessions of one file differ
as well, by where their memory happens to lie (0.2 % typically, 1 % at times), so rounds are spread over sittings,
each with contestants opened anew. Knows no device and no runtime: the clock and the contestants are given.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median

from automl.outcome import Ratio

Call = Callable[[], object]  # runs the contestant once
Opener = Callable[[], Call]  # opens the contestant anew
Clock = Callable[[], float]  # seconds, monotonic

PROTOCOL = "interleaved-1"
DISTURBED = f"{PROTOCOL}-disturbed"
CANDIDATE, CONTROL, CONTROL_AGAIN, TWIN = "candidate", "control", "control_again", "twin"


@dataclass(frozen=True)
class TimingRules:
    """When a timing session samples, stops and distrusts itself.

    A sitting ends after `max_rounds`, or after `sitting_seconds` once it has `min_rounds`. The session ends after
    `max_sittings`, or after `min_sittings` once the half width of every interval is below `half_width`. It is
    disturbed where the interval of the A/A pair leaves out 1 by more than `aa_tolerance`. No interval is narrower
    to either side than `floor` (what two openings of one file differ by, whatever the number of rounds) nor than
    what the A/A pair of the session differs by.
    """

    min_sittings: int = 3
    max_sittings: int = 4
    min_rounds: int = 6
    max_rounds: int = 16
    sitting_seconds: float = 0.4
    repeats: int = 5
    min_warm_up: int = 5
    max_warm_up: int = 40
    sample_floor_ms: float = 0.2
    half_width: float = 0.01
    floor: float = 0.005
    aa_tolerance: float = 0.02


@dataclass(frozen=True)
class TimingSession:
    """What one session measured: for each contestant one figure a round, in milliseconds a call."""

    protocol: str
    samples_ms: Mapping[str, tuple[float, ...]]
    sittings: tuple[int, ...]  # rounds in each
    floor: float

    def control_ratio(self) -> Ratio:
        """Return the candidate's latency over the control's (in each round the mean of its A/A pair)."""
        pairs = zip(self.samples_ms[CONTROL], self.samples_ms[CONTROL_AGAIN], strict=True)
        return self._ratio(self.samples_ms[CANDIDATE], [(one + other) / 2 for one, other in pairs], self._doubt())

    def twin_ratio(self) -> Ratio | None:
        """Return the candidate's latency over its twin's, None where no twin took part."""
        if TWIN not in self.samples_ms:
            return None
        return self._ratio(self.samples_ms[CANDIDATE], self.samples_ms[TWIN], self._doubt())

    def aa_ratio(self) -> Ratio:
        """Return the ratio of the control to itself: how far this session can be believed."""
        return self._ratio(self.samples_ms[CONTROL_AGAIN], self.samples_ms[CONTROL], self.floor)

    def _doubt(self) -> float:
        """Return the share by which this session finds the control to differ from itself, or the floor if larger."""
        return max(self.floor, abs(self.aa_ratio().value - 1))

    def _ratio(self, first: Sequence[float], second: Sequence[float], floor: float) -> Ratio:
        return median_ratio(first, second, sittings=self.sittings, floor=floor)


def median_ratio(
    first: Sequence[float], second: Sequence[float], *, sittings: Sequence[int] = (), floor: float = 0.0
) -> Ratio:
    """Return the median of the ratios within each round, with its 95 % interval.

    The interval is that of the order statistics of a median (binomial), so it assumes no distribution; its
    coverage is at least 95 % from 6 independent rounds on, with fewer it spans all ratios. Rounds of one sitting
    are not independent, so the interval is widened to hold the median of each sitting as well, and to reach at
    least the share `floor` of the median to either side.

    Args:
        first: one figure a round.
        second: one figure a round, of the same rounds.
        sittings: the number of rounds in each sitting, in order; none where that is not known.
        floor: a share of the median.
    """
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    ends = list(accumulate(sittings))
    medians = [median(ratios[end - size : end]) for end, size in zip(ends, sittings, strict=True)]
    ranked, rank, centre = sorted(ratios), _interval_rank(len(ratios)), median(ratios)
    low = min(ranked[rank], centre * (1 - floor), *medians)
    return Ratio(centre, low, max(ranked[-1 - rank], centre * (1 + floor), *medians))


def _interval_rank(count: int) -> int:
    """Return how many of the sorted values may be left out on either side for 95 % coverage of the median."""
    tail, rank = 0, 0
    while 2 * rank < count:
        tail += math.comb(count, rank)
        if 2 * tail > 0.05 * 2**count:
            break
        rank += 1
    return max(rank - 1, 0)


def time_contestants(
    openers: Mapping[str, Opener], *, seed: str, rules: TimingRules | None = None, clock: Clock = time.perf_counter
) -> TimingSession:
    """Time the contestants against each other; repeat once where the A/A pair says that the machine was disturbed.

    Args:
        openers: of "candidate", "control", "control_again" (the same file as the control) and perhaps "twin".
        seed: decides the order within the rounds.
        rules: the default ones where None.
        clock: the source of time.

    Returns:
        The session; its protocol ends in "-disturbed" where the repetition was disturbed as well.
    """
    rules = TimingRules() if rules is None else rules
    order = random.Random(seed)
    with _collector_off():
        session = _hold_session(openers, order, rules, clock)
        if is_disturbed(session.aa_ratio(), rules.aa_tolerance):
            session = _hold_session(openers, order, rules, clock)
    disturbed = is_disturbed(session.aa_ratio(), rules.aa_tolerance)
    return replace(session, protocol=DISTURBED) if disturbed else session


def is_disturbed(aa_ratio: Ratio, tolerance: float) -> bool:
    """Tell whether the interval of an A/A pair leaves out 1 by more than the tolerance."""
    return aa_ratio.low > 1 + tolerance or aa_ratio.high < 1 - tolerance


def median_ms(opener: Opener, *, rules: TimingRules | None = None, clock: Clock = time.perf_counter) -> float:
    """Return the median over rounds of one contestant's fastest repeat, in milliseconds a call."""
    rules = TimingRules() if rules is None else rules
    samples: list[float] = []
    with _collector_off():
        for _ in range(rules.max_sittings):
            samples += _hold_sitting({CONTROL: opener}, random.Random(0), rules, clock)[CONTROL]
    return median(samples)


def _hold_session(
    openers: Mapping[str, Opener], order: random.Random, rules: TimingRules, clock: Clock
) -> TimingSession:
    session = TimingSession(PROTOCOL, dict.fromkeys(openers, ()), (), rules.floor)
    for sitting in range(1, rules.max_sittings + 1):
        added = _hold_sitting(openers, order, rules, clock)
        samples = {name: session.samples_ms[name] + added[name] for name in openers}
        session = replace(session, samples_ms=samples, sittings=(*session.sittings, len(added[CONTROL])))
        if sitting >= rules.min_sittings and _is_narrow(session, rules.half_width):
            break
    return session


def _is_narrow(session: TimingSession, half_width: float) -> bool:
    ratios = [session.control_ratio(), session.twin_ratio(), session.aa_ratio()]
    return all(ratio is None or (ratio.high - ratio.low) / 2 < half_width * ratio.value for ratio in ratios)


def _hold_sitting(
    openers: Mapping[str, Opener], order: random.Random, rules: TimingRules, clock: Clock
) -> dict[str, tuple[float, ...]]:
    calls = {name: opener() for name, opener in openers.items()}
    loops = {name: _warm_up(call, rules, clock) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start, names = clock(), list(calls)
    for done in range(rules.max_rounds):
        if done >= rules.min_rounds and clock() - start >= rules.sitting_seconds:
            break
        order.shuffle(names)
        for name in names:
            samples[name].append(_fastest_ms(calls[name], loops[name], rules.repeats, clock))
    return {name: tuple(values) for name, values in samples.items()}


def _warm_up(call: Call, rules: TimingRules, clock: Clock) -> int:
    """Call until it gets no faster; return how many calls make one sample long enough for the clock."""
    fastest, since = math.inf, 0
    for done in range(rules.max_warm_up):
        if done >= rules.min_warm_up and since >= 3:
            break
        milliseconds = _fastest_ms(call, 1, 1, clock)
        since = 0 if milliseconds < 0.98 * fastest else since + 1
        fastest = min(fastest, milliseconds)
    return max(1, math.ceil(rules.sample_floor_ms / fastest)) if fastest > 0 else 1000


def _fastest_ms(call: Call, loops: int, repeats: int, clock: Clock) -> float:
    fastest = math.inf
    for _ in range(repeats):
        start = clock()
        for _ in range(loops):
            call()
        fastest = min(fastest, clock() - start)
    return fastest * 1000 / loops


@contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
