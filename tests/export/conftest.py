"""A bundle of a real file: a linear network on digits, with made-up latencies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from automl.candidate import (
    Candidate,
    DistillationPlan,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
)
from automl.data.dataset import Dataset, load_dataset
from automl.export.bundle import BundleSource, file_record, write_bundle
from automl.export.manifest import Origin, TargetRecord
from automl.export.verify import score
from automl.outcome import Artefact, Gain, Kind, Measured, Measurement, Ratio, Timing
from automl.targets import Contestant, Control, Format, Runner
from automl.targets.session import open_runner
from search_spaces.genotypes import PUBLISHED

DEVICE = "a fake device"
SETTINGS = {
    "source": "digits", "path": None, "seed": 0, "validation": 0.2, "test": 0.2, "resize": None, "train_limit": None,
    "validation_limit": None, "augmentation": "shift",
}  # fmt: skip


@dataclass(frozen=True)
class FakeTarget:
    """Scores real files, and answers the ratios that it is given, the last one again and again."""

    ratios: tuple[Ratio, ...] = (Ratio(0.5, 0.495, 0.505),)
    fingerprint: str = DEVICE
    name: str = "cpu"
    kind: Kind = "measured"
    channel_multiple: int = 16
    asked: list[Contestant] = field(default_factory=list)
    held_against: list[Control] = field(default_factory=list)

    def runtimes(self) -> tuple[str, ...]:
        return ("onnxruntime",)

    def formats(self) -> tuple[Format, ...]:
        return ()

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:
        return 1.0

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        ratio = self.ratios[min(len(self.asked), len(self.ratios) - 1)]
        self.asked.append(subject)
        self.held_against.append(control)
        return fake_timing(subject.sha256, ratio, moment)

    def load(self, path: Path, runtime: str = "onnxruntime") -> Runner:
        return open_runner(path, runtime)


def fake_timing(sha256: str, ratio: Ratio, moment: str) -> Timing:
    return Timing(moment, "measured", "fake-1", DEVICE, sha256, "fp32", 2.0, ratio, Ratio(0.8, 0.79, 0.81), None)


def linear_file(weights: np.ndarray) -> bytes:
    """Return a file from raw pixels, 1 x 8 x 8, to logits: one matrix of `65 x classes`."""
    shape = numpy_helper.from_array(np.array([1, 64], np.int64), "shape")
    matrix = numpy_helper.from_array(weights[:64].astype(np.float32), "matrix")
    bias = numpy_helper.from_array(weights[64].astype(np.float32), "bias")
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 8, 8])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, weights.shape[1]])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, [shape, matrix, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def fake_candidate() -> Candidate:
    normal, reduction = PUBLISHED["darts_v2"]
    return Candidate(
        Genotype(normal, reduction, 4, 16),
        PruningPlan((16, 16, 64)),
        QuantizationPlan((8, 8, 32), (8, 8, 32)),
        DistillationPlan(0.7, 4.0),
        TrainingPlan("adamw", 2e-3, 5e-4, 64, 10, 0.0, 0.0, 5.0),
    )


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2, augmentation="shift")


@pytest.fixture(scope="session")
def source(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> BundleSource:
    folder = tmp_path_factory.mktemp("runs")
    pixels = np.concatenate([digits.train.pixels.reshape(-1, 64), np.ones((len(digits.train), 1))], axis=1)
    weights = np.linalg.lstsq(pixels, np.eye(10)[digits.train.labels], rcond=None)[0]
    (folder / "model.onnx").write_bytes(linear_file(weights))
    (folder / "control.onnx").write_bytes(linear_file(np.zeros((65, 10))))
    model, control = file_record(folder / "model.onnx"), file_record(folder / "control.onnx")
    found = score(open_runner(folder / "model.onnx")(digits.validation.pixels), digits.validation.labels)
    figures = (*found.items(), ("latency_ms", 1.0), ("size_bytes", float(model.size_bytes)))
    outcome = Measured(
        tuple(Measurement(name, one, "measured", "p", one, one, 1, DEVICE, model.sha256) for name, one in figures),
        Artefact(model.sha256, "model.onnx", model.size_bytes),
        Gain("faster", Ratio(0.8, 0.79, 0.81), 0.4),
        (
            fake_timing("0" * 64, Ratio(0.4, 0.4, 0.4), "untrained"),
            fake_timing(model.sha256, Ratio(0.5, 0.495, 0.505), "trained"),
        ),
        (),
        {},
    )  # fmt: skip
    return BundleSource(
        origin=Origin("digits", "spec", 0, "trial", 7),
        candidate=fake_candidate(),
        outcome=outcome,
        shape_key="shape",
        model=folder / "model.onnx",
        control=Control("fp32", folder / "control.onnx", control.sha256, 2.0),
        dataset=digits,
        data_settings=SETTINGS,
        target=TargetRecord("cpu", 16, DEVICE),
        batch=1,
        versions={"torch": "2.13.0"},
    )


@pytest.fixture
def bundle(source: BundleSource, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", source)
    return tmp_path / "bundle"


def with_images(dataset: Dataset, labels: np.ndarray) -> Dataset:
    """Return the data set with other validation labels."""
    return replace(dataset, validation=replace(dataset.validation, labels=labels))
