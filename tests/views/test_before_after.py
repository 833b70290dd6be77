"""Before and after: figures in words, their change, and where they come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automl.outcome import Gain, Measurement, Ratio
from automl.views.before_after import Subject, change_words, figure_rows, measurement_of
from tests.views.made_up_report import compressed_subject, measured_like


def twin_of(model: Subject) -> Subject:
    twin = model.candidate.twin()
    return Subject("twin", model.trial, twin, measured_like(twin, 2))


def test_figure_rows_say_kind_protocol_and_files() -> None:
    model = compressed_subject()
    rows = {row.name: row for row in figure_rows(model, twin_of(model))}
    assert list(rows)[:3] == ["parameters", "size_bytes", "latency_ms"]
    assert "test_accuracy" in rows
    assert "accuracy" not in rows
    assert rows["latency_ms"].origin == "measured: fake-1, 24 samples; files 00000000, 00000000"
    assert rows["training_seconds"].twin == "20.0 s"


def test_figure_rows_hold_the_latency_head_to_head() -> None:
    model = compressed_subject()
    gain = Gain("faster", Ratio(0.5, 0.49, 0.52), 0.25)
    model = replace(model, outcome=replace(model.outcome, gain=gain))
    rows = {row.name: row for row in figure_rows(model, twin_of(model))}
    assert rows["latency_ms"].change == "×0.500 (0.490 to 0.520), head to head"


def test_figure_rows_without_a_trained_twin_say_that_it_is_untrained() -> None:
    model = compressed_subject()
    gain = Gain("faster", Ratio(0.5, 0.49, 0.52), 0.25)
    figures = (
        Measurement("latency_ms", 0.2, "measured", "p", 0.19, 0.21, 3, "d", "a"),
        Measurement("test_accuracy", 0.9, "measured", "p", 0.8, 0.95, 3, "d", "a"),
        Measurement("parameters", 10.0, "measured", "p", 10.0, 10.0, 1, "d", "a"),
        Measurement("twin_parameters", 40.0, "measured", "p", 40.0, 40.0, 1, "d", "a"),
    )
    model = replace(model, outcome=replace(model.outcome, gain=gain, measurements=figures, curve=()))
    rows = {row.name: (row.twin, row.change) for row in figure_rows(model, None)}
    assert rows["latency_ms"] == ("0.4 ms (untrained twin)", "×0.500 (0.490 to 0.520), head to head")
    assert rows["parameters"] == ("40 (untrained twin)", "×0.250")
    assert rows["test_accuracy"] == ("–", "–")


def test_measurement_of_training_adds_up_the_curve() -> None:
    outcome = compressed_subject().outcome
    found = measurement_of(outcome, "training_seconds")
    assert found is not None
    assert (found.value, found.artefact) == (20.0, outcome.artefact.sha256)
    assert measurement_of(replace(outcome, curve=()), "training_seconds") is None


@pytest.mark.parametrize(
    ("name", "value", "reference", "words"),
    [
        ("test_accuracy", 0.90, 0.92, "−2.0 points"),
        ("accuracy", 0.92, 0.90, "+2.0 points"),
        ("accuracy", 0.9, 0.9, "no change"),
        ("size_bytes", 50.0, 200.0, "×0.250"),
        ("nonzero_parameters", 1.0, 0.0, "–"),
    ],
)
def test_change_words(name: str, value: float, reference: float, words: str) -> None:
    assert change_words(name, value, reference) == words
