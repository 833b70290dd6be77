"""Strategies for outcomes of every kind, with the texts and numbers that databases like to lose."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from automl.outcome import (
    Artefact,
    Epoch,
    Failed,
    Gain,
    Infeasible,
    Measured,
    Measurement,
    Outcome,
    Ratio,
    RungResult,
    Stopped,
    Timing,
)

T = TypeVar("T")

ODD_TEXTS = ("\x00", "\ud800", "\udcff", "\u241b", "\u241b0000", "snow \u2603", 'it\'s "quoted"\n', "%s :name \\")

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
floats = st.floats().map(lambda value: value + 0.0)  # no -0.0, which equals 0.0 and comes back as it
counts = st.integers(0, 2**53)
kinds = st.sampled_from(("measured", "recorded", "predicted"))
ratios = st.builds(Ratio, floats, floats, floats)
durations = st.dictionaries(texts, floats, max_size=2)
measurements = st.builds(Measurement, texts, floats, kinds, texts, floats, floats, counts, texts, texts)
timings = st.builds(
    Timing,
    moment=texts,
    kind=kinds,
    protocol=texts,
    device=texts,
    artefact=texts,
    control=texts,
    control_reference_ms=floats,
    control_ratio=ratios,
    twin_ratio=st.none() | ratios,
    aa_ratio=st.none() | ratios,
    samples_ms=st.dictionaries(texts, st.lists(floats, max_size=3).map(tuple), max_size=2),
)
gains = st.builds(Gain, texts, st.none() | ratios, st.none() | floats)
epochs = st.builds(Epoch, texts, st.integers(0, 999), floats, floats, floats, floats)


def _tuples(of: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(of, max_size=2).map(tuple)


outcomes: st.SearchStrategy[Outcome] = (
    st.builds(
        Measured,
        measurements=_tuples(measurements),
        artefact=st.builds(Artefact, texts, texts, counts),
        gain=gains,
        timings=_tuples(timings),
        curve=_tuples(epochs),
        seconds=durations,
        stable=st.booleans(),
        notes=_tuples(texts),
    )
    | st.builds(
        Infeasible,
        reason=texts,
        violations=st.dictionaries(texts, st.tuples(floats, floats), max_size=2),
        measurements=_tuples(measurements),
        timings=_tuples(timings),
        seconds=durations,
    )
    | st.builds(Stopped, texts, durations)
    | st.builds(Failed, texts, texts, durations)
)

rung_results: st.SearchStrategy[RungResult] = st.builds(
    RungResult,
    rung=st.integers(0, 9),
    measurements=_tuples(measurements),
    timings=_tuples(timings),
    curve=_tuples(epochs),
    seconds=durations,
    checkpoint=st.none() | st.builds(Artefact, texts, texts, counts),
)
