"""Recordings: answered exactly, refused clearly."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from automl.errors import InputError, TargetError
from automl.outcome import Ratio
from automl.targets import Contestant, Control, Target, open_target
from automl.targets.recorded import write_recording

CONTROL = Control("int8", Path("control.onnx"), "c", 4.0)


def subject(shape_key: str) -> Contestant:
    return Contestant(Path("net.onnx"), "s", shape_key)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "phone.json"
    write_recording(
        path,
        fingerprint="a phone",
        channel_multiple=8,
        controls={"fp32": 2.0, "int8": 4.0},
        latency_ms={"aa": 1.0, "bb": 3.0},
    )
    return path


@pytest.fixture
def target(recording: Path) -> Target:
    return open_target(f"recorded:{recording}", batch=1, channel_multiple=8)


def test_recorded_target_answers_what_was_written(target: Target) -> None:
    timing = target.compare(subject("bb"), CONTROL, subject("aa"), "trained")
    assert (timing.kind, timing.device, timing.moment, timing.artefact) == ("recorded", "a phone", "trained", "s")
    assert timing.latency_ms == 3.0
    assert timing.control_ratio == Ratio(0.75, 0.75, 0.75)
    assert timing.twin_ratio == Ratio(3.0, 3.0, 3.0)
    assert timing.samples_ms == {}
    assert timing.aa_ratio is None


def test_recorded_target_without_the_twins_entry_has_no_twin_ratio(target: Target) -> None:
    assert target.compare(subject("aa"), CONTROL, subject("unknown"), "untrained").twin_ratio is None


def test_recorded_target_names_the_missing_shape(target: Target) -> None:
    with pytest.raises(TargetError, match="latency_ms has no entry for 'zz'"):
        target.compare(subject("zz"), CONTROL, None, "untrained")


def test_recorded_target_knows_the_reference_of_each_kind(target: Target) -> None:
    assert [target.reference_ms(Path("any"), kind) for kind in ("fp32", "int8")] == [2.0, 4.0]
    with pytest.raises(TargetError, match="controls has no entry for 'bf16'"):
        target.reference_ms(Path("any"), "bf16")


def test_recorded_target_has_the_runtimes_of_its_controls(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "both.json"
    controls = {"openvino fp32": 2.5, "fp32": 2.0}
    write_recording(path, fingerprint="x", channel_multiple=8, controls=controls, latency_ms={})
    both = open_target(f"recorded:{path}", batch=1, channel_multiple=8)
    assert (target.runtimes(), both.runtimes()) == (("onnxruntime",), ("onnxruntime", "openvino"))
    assert both.reference_ms(Path("any"), "openvino fp32", CONTROL) == 2.5
    assert {form.runtime for form in both.formats()} == {"onnxruntime", "openvino"}


def test_recorded_target_travels_between_processes(target: Target) -> None:
    assert pickle.loads(pickle.dumps(target)) == target


def test_open_recording_refuses_another_channel_multiple(recording: Path) -> None:
    with pytest.raises(InputError, match=r"target\.channel_multiple must be 8, as .*, but got 16"):
        open_target(f"recorded:{recording}", batch=1, channel_multiple=16)


def test_open_recording_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"readable file, but got .*gone\.json \(No such file"):
        open_target(f"recorded:{tmp_path / 'gone.json'}", batch=1, channel_multiple=8)


def test_open_recording_reports_every_fault_at_once(recording: Path) -> None:
    document: dict[str, Any] = json.loads(recording.read_text())
    document |= {"format": 2, "latency_ms": {"aa": -1.0}, "speed": 1}
    recording.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        open_target(f"recorded:{recording}", batch=1, channel_multiple=8)
    assert [fault.where.rsplit(": ", 1)[1] for fault in caught.value.faults] == ["format", "latency_ms", "speed"]


@pytest.mark.parametrize("text", ["{", "[]", '"text"', "\x00"])
def test_open_recording_refuses_what_is_no_document(recording: Path, text: str) -> None:
    recording.write_text(text)
    with pytest.raises(InputError, match=r"phone\.json must be a JSON"):
        open_target(f"recorded:{recording}", batch=1, channel_multiple=8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, "1", None, True])
def test_open_recording_refuses_latencies_that_are_none(recording: Path, value: object) -> None:
    document = json.loads(recording.read_text())
    document["latency_ms"]["aa"] = value
    recording.write_text(json.dumps(document))
    with pytest.raises(InputError, match="positive milliseconds"):
        open_target(f"recorded:{recording}", batch=1, channel_multiple=8)
