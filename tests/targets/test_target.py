"""The names of controls."""

from __future__ import annotations

import pytest

from automl.targets import control_kind, runtime_of_control


@pytest.mark.parametrize(
    ("runtime", "precision", "kind"),
    [("onnxruntime", "fp32", "fp32"), ("onnxruntime", "int8", "int8"), ("openvino", "int8", "openvino int8")],
)
def test_control_kind_and_its_runtime_go_together(runtime: str, precision: str, kind: str) -> None:
    assert control_kind(runtime, precision) == kind
    assert runtime_of_control(kind) == runtime
