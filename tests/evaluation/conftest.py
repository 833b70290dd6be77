"""A study's context on a small part of digits, with a recorded target: no clock decides a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl.data.dataset import Dataset, load_dataset
from automl.evaluation import EvaluationContext, prepare_controls
from automl.outcome import Ratio, Timing
from automl.targets.target import Contestant, Control


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(
        "digits", None, seed=0, validation_share=0.2, test_share=0.2, train_limit=320, validation_limit=100,
        augmentation="shift",
    )  # fmt: skip


class TableTarget:
    """Answers what the test put into `ratios`, by moment; runs files with ONNX Runtime on the CPU."""

    name, kind, fingerprint, channel_multiple = "table", "recorded", "a table", 4

    def __init__(self) -> None:
        self.ratios: dict[str, list[float]] = {}
        self.twin_ratio = Ratio(0.8, 0.7, 0.9)
        self.asked: list[tuple[str, Contestant, Contestant | None]] = []

    def formats(self) -> tuple[()]:
        return ()

    def reference_ms(self, control: Path, kind: str) -> float:
        return {"fp32": 2.0, "int8": 1.0}[kind]

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        self.asked.append((moment, subject, twin))
        queue = self.ratios.get(moment, [0.5])
        value = queue.pop(0) if len(queue) > 1 else queue[0]
        head_to_head = moment.startswith("head to head")
        twin_ratio = None if twin is None else (Ratio(*[queue[0]] * 3) if head_to_head else self.twin_ratio)
        return Timing(
            moment, "measured", "table", self.fingerprint, subject.sha256, control.kind, control.reference_ms,
            Ratio(value, value * 0.99, value * 1.01), twin_ratio, None, {"candidate": (value,)},
        )  # fmt: skip

    def load(self, path: Path, runtime: str = "onnxruntime"):
        from automl.targets.session import open_runner

        return open_runner(path, runtime=runtime)


@pytest.fixture
def target() -> TableTarget:
    return TableTarget()


@pytest.fixture
def context(digits: Dataset, target: TableTarget, tmp_path: Path) -> EvaluationContext:
    return study_context(digits, target, tmp_path)


@pytest.fixture(scope="module")
def shared_context(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> EvaluationContext:
    return study_context(digits, TableTarget(), tmp_path_factory.mktemp("study"))


def study_context(digits: Dataset, target: TableTarget, folder: Path) -> EvaluationContext:
    controls = prepare_controls(target, digits, folder, 1, {})
    return EvaluationContext(
        dataset=digits,
        target=target,
        controls=controls,
        limits={},
        objectives=("accuracy", "latency_ms", "size_bytes"),
        runs=folder,
        seed=0,
        teacher=None,
        lane_folder=folder / "lanes",
        threads=1,
        batch=1,
        largest_code=64,
        finalist_epochs=2,
        finalist_seconds=None,
    )
