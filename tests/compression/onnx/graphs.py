"""Graphs of a few nodes in ONNX's own text form, and what they answer."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from automl.compression.onnx.optimisation import random_feeds
from automl.compression.onnx.passes import run_once


def graph(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    """Return a model of opset 21 whose named constants are stored."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}')
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return model


def kinds_of(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def answers(model: onnx.ModelProto) -> list[np.ndarray]:
    names = [value.name for value in model.graph.output]
    return run_once(model.SerializeToString(), random_feeds(model), names)


def assert_same_answers(one: onnx.ModelProto, other: onnx.ModelProto) -> None:
    for before, after in zip(answers(one), answers(other), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)
