"""OpenVINO on the CPU as every number of this platform uses it: one thread, static shapes, the precision said aloud.

OpenVINO lowers the precision on its own where a chip has a faster one, so the precision of inference is always asked
for and read back. A file is computed in float32 and, where it holds QuantizeLinear/DequantizeLinear pairs, in int8;
one whose metadata says `activation_bits` 16 is computed in the 16-bit type that the chip runs natively, or refused.

Compiling takes 0.2 to 1 s, so a file that is opened again and again is compiled once; every opening then restores the
compiled model, which is laid out in memory anew and runs the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from automl.errors import TargetError
from automl.targets.opened import OpenedFile, require_file, require_input

DEVICE = "CPU"
SIXTEEN_BITS = {"BF16": "bf16", "FP16": "f16"}  # OpenVINO's capability -> its precision, the preferred one first
METADATA_KEY = "activation_bits"
COMPILED_FILES = 3  # remembered by a process: a candidate, its control and its twin


@dataclass(frozen=True)
class _Source:
    """What is compiled: equal contents are one file, wherever they lie."""

    content: bytes
    path: Path = field(compare=False)


def obstacle() -> str | None:
    """Return why OpenVINO cannot run files here, or None where it can."""
    try:
        import openvino
    except ImportError as error:
        return f"not installed ({error}); pip install 'automl[openvino]'"
    return None if DEVICE in openvino.Core().available_devices else "this OpenVINO has no plugin for the CPU"


def capabilities() -> tuple[str, ...]:
    """Return the precisions that OpenVINO runs natively on this CPU, as it names them: FP32, INT8, BF16, ..."""
    import openvino

    return tuple(openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))


def sixteen_bit_type(native: Collection[str]) -> str | None:
    """Return the 16-bit precision of inference of a CPU with these capabilities, None where it has none."""
    return next((precision for name, precision in SIXTEEN_BITS.items() if name in native), None)


def prepare(path: Path) -> Callable[[], OpenedFile]:
    """Compile the file and return what opens it anew each time that it is called.

    Raises:
        TargetError: where it is missing or cannot be run as it asks.
        InputError: where a packed file is damaged.
    """
    return partial(_restore, path, *_compiled_bytes(_read(path)))


def open_file(path: Path) -> OpenedFile:
    """Return the file, compiled and ready to run.

    Raises:
        TargetError: where it is missing or cannot be run as it asks.
        InputError: where a packed file is damaged.
    """
    return _opened(path, compile_model(path))


def compile_model(path: Path) -> Any:
    """Return the `openvino.CompiledModel` of the file, plain or packed.

    Raises:
        TargetError: where it is missing or cannot be run as it asks.
        InputError: where a packed file is damaged.
    """
    return _compile(_read(path))[0]


def inference_settings(precision: str) -> dict[str, Any]:
    """Return what every model is compiled with: the precision, and one thread, the calling one.

    Args:
        precision: "f32", "bf16" or "f16".
    """
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_HYPER_THREADING": False,
        "ENABLE_CPU_PINNING": False,  # the timing lane pins
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # else linear layers of stored int8 weights compute in int8 on some chips
    }


def ask_for_sixteen_bits(content: bytes) -> bytes:
    """Return an ONNX file that says that it is to be computed in 16 bits: for formats of 16-bit activations.

    Its graph, weights and answers elsewhere stay what they are. The whole of it that is not integer is computed so.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, "16"
    return bytes(model.SerializeToString(deterministic=True))


def _read(path: Path) -> _Source:
    from automl.models.packing import read_model

    require_file(path)
    return _Source(read_model(path), path)


@lru_cache(maxsize=COMPILED_FILES)
def _compiled_bytes(source: _Source) -> tuple[bytes, str]:
    """Return the compiled model, as this installation restores it on this chip, and its precision of inference."""
    compiled, precision = _compile(source)
    return bytes(compiled.export_model().getvalue()), precision


def _compile(source: _Source) -> tuple[Any, str]:
    path = source.path
    if (reason := obstacle()) is not None:
        raise TargetError(f"{path} is to be run by OpenVINO, but that is {reason}.")
    import openvino

    core = openvino.Core()
    try:
        model = core.read_model(model=source.content)
        require_input(path, _inputs(model))
        precision = _precision(path, model)
        compiled = core.compile_model(model, DEVICE, inference_settings(precision))
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise TargetError(f"{path} must be a file that OpenVINO can run, but it says: {said}") from error
    require_settings(path, compiled, precision)
    return compiled, precision


def _inputs(model: Any) -> list[tuple[str, list[int | str], str]]:
    """Return (name, shape, type) of each input, before or after compilation."""
    return [(one.any_name, [_size(size) for size in one.partial_shape], _type_name(one)) for one in model.inputs]


def _size(size: Any) -> int | str:
    return int(size.get_length()) if size.is_static else str(size)


def _type_name(port: Any) -> str:
    try:
        return str(port.element_type.to_dtype())
    except RuntimeError:  # NumPy has no such type
        return str(port.element_type)


def _precision(path: Path, model: Any) -> str:
    """Return the precision of inference that the file asks for.

    Raises:
        TargetError: where that is 16 bits and the chip would compute them in float32.
    """
    key = ["framework", METADATA_KEY]
    if not model.has_rt_info(key) or model.get_rt_info(key).astype(str) != "16":
        return "f32"
    native = capabilities()
    precision = sixteen_bit_type(native)
    if precision is None:
        raise TargetError(f"{path} needs a CPU with native 16-bit arithmetic, but OpenVINO finds {', '.join(native)}.")
    return precision


def require_settings(path: Path, compiled: Any, precision: str) -> None:
    """Read back what decides what is computed and on how many threads.

    Raises:
        TargetError: where OpenVINO took other settings than it was given.
    """
    import openvino

    types: Mapping[str, Any] = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16, "f16": openvino.Type.f16}
    asked = inference_settings(precision)
    asked["INFERENCE_PRECISION_HINT"] = types[precision]
    names = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    other = [f"{name} {found}" for name in names if (found := compiled.get_property(name)) != asked[name]]
    if other:
        raise TargetError(f"{path} must be run in {precision} on one thread, but OpenVINO took {', '.join(other)}.")


def _restore(path: Path, compiled_bytes: bytes, precision: str) -> OpenedFile:
    import openvino

    compiled = openvino.Core().import_model(BytesIO(compiled_bytes), DEVICE, inference_settings(precision))
    require_settings(path, compiled, precision)
    return _opened(path, compiled)


def _opened(path: Path, compiled: Any) -> OpenedFile:
    _, shape, element = require_input(path, _inputs(compiled))
    request = compiled.create_infer_request()
    samples, answers = request.get_input_tensor(0), request.get_output_tensor(0)

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        samples.data[...] = batch  # a tensor that is handed over at every call costs 0.1 ms
        request.infer(share_outputs=True)
        return answers.data.copy()  # type: ignore[no-any-return]

    return OpenedFile(shape, element, compiled.outputs[0].shape[-1], run)
