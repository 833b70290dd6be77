"""What `automl summary` prints."""

from __future__ import annotations

import json

import pytest

from automl.commands import summaries
from automl.errors import InputError
from automl.models.packing import pack
from automl.outcome import Ratio
from tests.compression.onnx.networks import SmallCnn, network_file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(network_file(SmallCnn, clean=False))
    return path


def test_summary_prints_layers_and_totals(file, capsys):
    summaries.summary(file)
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith("/stem/stem.0/Conv"))
    assert row == ["/stem/stem.0/Conv", "Conv", "1x16x16x16", "432", "110,592", "1,728"]
    assert f"1,082 parameters (0.001 M), 213,152 multiply-adds (0.000 G), {file.stat().st_size:,} bytes" in printed


@pytest.mark.parametrize("packed", [True, False])
def test_summary_reads_a_bundle_and_a_packed_file(file, packed, capsys):
    if packed:
        (file.parent / "model.onnx.xz").write_bytes(pack(file.read_bytes()))
        file.unlink()
    summaries.summary(file.parent, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["totals"]["parameters"] == sum(layer["parameters"] for layer in told["layers"]) == 1082
    assert (told["file_bytes"] < told["totals"]["size_bytes"]) == packed
    assert "report" not in told


def test_summary_reports_steps_and_what_the_runtime_does(file, capsys, monkeypatch):
    class Timed:
        def compare(self, subject, control, twin, moment):
            assert subject.path.is_file() and control.path.is_file() and moment == "report"
            return type("Timing", (), {"control_ratio": Ratio(0.5, 0.4, 0.6)})

    monkeypatch.setattr("automl.targets.open_target", lambda *_, **__: Timed())
    summaries.summary(file, report=True)
    printed = capsys.readouterr().out
    folded = next(line for line in printed.splitlines() if line.startswith("batch normalisation folded"))
    assert "×0.500 [0.400, 0.600]" in folded and folded.split()[3] == "10"
    assert "FusedConv" in printed and "between integer codes: none" in printed


def test_summary_of_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"must be an ONNX file, or a folder .* but got no such file"):
        summaries.summary(tmp_path / "absent.onnx")
    with pytest.raises(InputError, match="but got a folder without one"):
        summaries.summary(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(InputError, match="must be an ONNX model, but got bytes"):
        summaries.summary(tmp_path / "text.onnx")
