"""Files opened by name of the runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from automl.errors import InputError, TargetError
from automl.models.packing import SUFFIX, pack
from automl.targets import runtime_obstacles
from automl.targets.session import open_runner, prepare_call

RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(obstacle is not None, reason=f"{name}: {obstacle}"))
    for name, obstacle in runtime_obstacles().items()
]
WITHOUT_OPENVINO = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'", name=name)
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from automl.errors import AutomlError
from automl.targets import open_target, runtime_obstacles
print(runtime_obstacles())
print(len(open_target("cpu", batch=1, channel_multiple=1).formats()))
try:
    open_target("cpu", batch=1, channel_multiple=1, runtimes=("onnxruntime", "openvino"))
except AutomlError as error:
    print(error)
try:
    open_target("cpu", batch=1, channel_multiple=1).load(Path(sys.argv[1]), "openvino")
except AutomlError as error:
    print(error)
"""


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    """Return a file from 3 token ids below 100 to the sum of their rows, (id, 1)."""
    table = np.stack([np.arange(100), np.ones(100)], axis=1).astype(np.float32)
    values = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axes")]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["logits"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [2, 3])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, 2])]
    graph = helper.make_graph(nodes, "text", inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "text.onnx")
    return tmp_path / "text.onnx"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_open_runner_takes_token_ids_in_parts_of_the_batch(embedding: Path, runtime: str) -> None:
    ids = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int64)
    assert open_runner(embedding, runtime)(ids).tolist() == [[6, 3], [15, 3], [24, 3]]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_open_runner_refuses_pixels_where_the_file_takes_ids(embedding: Path, runtime: str) -> None:
    with pytest.raises(TargetError, match=r"token ids must be int64 n x \(3,\), but got uint8"):
        open_runner(embedding, runtime)(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_prepare_call_feeds_ids_that_the_vocabulary_has(embedding: Path, runtime: str) -> None:
    answers = prepare_call(embedding, runtime)()()
    assert np.asarray(answers)[:, 1].tolist() == [3, 3]  # a row outside the table would be an error, or no 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_open_runner_restores_a_packed_file(embedding: Path, tmp_path: Path, runtime: str) -> None:
    packed = tmp_path / f"text{SUFFIX}"
    packed.write_bytes(pack(embedding.read_bytes()))
    ids = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(open_runner(packed, runtime)(ids), open_runner(embedding, runtime)(ids))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_open_runner_names_a_damaged_packed_file(embedding: Path, tmp_path: Path, runtime: str) -> None:
    packed = tmp_path / f"text{SUFFIX}"
    packed.write_bytes(pack(embedding.read_bytes())[:-20])
    with pytest.raises(InputError, match=r"text\.onnx\.xz must be a whole xz container"):
        open_runner(packed, runtime)


def test_open_runner_lists_the_known_runtimes(embedding: Path) -> None:
    with pytest.raises(TargetError, match=r"one of onnxruntime, openvino, but got 'tensorrt'"):
        open_runner(embedding, "tensorrt")


def test_everything_works_without_openvino_but_openvino(embedding: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_OPENVINO, str(embedding)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].startswith("{'onnxruntime': None, 'openvino': \"not installed (No module named 'openvino')")
    assert said[1] == "16"
    assert said[2].startswith("target.runtimes must be runtimes that this machine has")
    assert "text.onnx is to be run by OpenVINO, but that is not installed" in said[3]
    assert "pip install 'automl[openvino]'" in said[3]
