"""One trained ONNX file, run by every runtime that is there: at least 99 % of the top-1 answers are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression.quantization import calibrate
from automl.data.dataset import Dataset, load_dataset
from automl.models.deployable import Task
from automl.models.network import Network
from automl.targets import runtime_obstacles
from automl.targets.session import open_runner
from tests.models.architectures import candidate

PRECISIONS = {"fp32": (32, 32), "int8": (8, 8), "stored int4": (4, 32)}
OTHERS = [name for name, obstacle in runtime_obstacles().items() if obstacle is None and name != "onnxruntime"]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2, augmentation="none")


@pytest.fixture(scope="module")
def network(digits: Dataset) -> Network:
    """Return a small cell network, trained until most answers are right."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    plain, pixels = candidate(width=8, cells=2), digits.train.pixels
    task = Task((8, 8), 10, (float(pixels.mean()),), (float(pixels.std()),))
    network = Network(plain.genotype, plain.genotype.stage_widths(), task).to(memory_format=torch.channels_last)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(digits.train.labels).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(3):
        for indices in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[indices]), labels[indices]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def write(network: Network, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("files")

    def write_file(precision: str) -> Path:
        weights, activations = PRECISIONS[precision]
        plan = QuantizationPlan((weights,) * 3, (activations,) * 3)
        codes = calibrate(network, digits.train.pixels[:256], plan) if activations == 8 else None
        path = folder / f"{precision}.onnx"
        path.write_bytes(network.write(plan, codes=codes, largest_code=64, batch=1))
        return path

    return write_file


@pytest.mark.skipif(not OTHERS, reason="no runtime but ONNX Runtime is installed")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("runtime", OTHERS)
def test_top_1_answers_agree_across_runtimes(
    write: Callable[[str], Path], digits: Dataset, runtime: str, precision: str
) -> None:
    path = write(precision)
    pixels = np.concatenate([digits.validation.pixels, digits.test.pixels])
    labels = np.concatenate([digits.validation.labels, digits.test.labels])
    first, second = (open_runner(path, name)(pixels).argmax(axis=1) for name in ("onnxruntime", runtime))
    assert np.mean(first == labels) > 0.8  # else agreement would say little
    assert np.mean(first == second) >= 0.99
