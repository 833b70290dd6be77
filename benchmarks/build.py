"""How long an untrained candidate takes from its plan to its file: build, prune, quantize, emit.

Random candidates of 16 channels and 8 cells at 28x28, one thread, as the first rung of a study does it; beside them
the same networks in int8 through torch.onnx.export and ONNX Runtime's quantize_static, in the same run.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from goals import Goal, arguments, report

from automl.candidate import STAGES, Candidate, QuantizationPlan
from automl.data.dataset import load_dataset
from automl.evaluation.context import EvaluationContext, task_of
from automl.evaluation.files import nominal_file
from automl.models.network import build_network
from automl.targets import default_lane_folder, open_target
from search_spaces.joint import joint_space

CELLS, WIDTH, SIZE, LARGEST_CODE = 8, 16, 28, 64
GOAL_SECONDS = 0.3
CALIBRATION_IMAGES = 32


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(1)
    candidates = random_candidates(5 if options.quick else 40)
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(Path(folder))
        nominal_file(candidates[0], context)  # imports are no part of a candidate
        ours = [seconds_of(lambda one=one: nominal_file(one, context)) for one in candidates]
        pairs = [compare(one, context, Path(folder)) for one in candidates[: 2 if options.quick else 8]]
    ratio = median(theirs / own for own, theirs in pairs)
    goals = [
        Goal(
            "seconds to a file, median", f"at most {GOAL_SECONDS}", f"{median(ours):.3f}", median(ours) <= GOAL_SECONDS
        ),
        Goal("seconds to a file, slowest", "shown", f"{max(ours):.3f}", None),
        Goal("torch.onnx.export + quantize_static, int8", "shown", f"{median(b for _, b in pairs):.2f} s", None),
        Goal("the same over ours", "more than 1x", f"{ratio:.1f}x", ratio > 1),
    ]
    figures: dict[str, object] = {"seconds": ours, "int8_pairs": pairs, "ratio": ratio}
    return report(goals, figures, options.json)


def random_candidates(count: int) -> list[Candidate]:
    training = {
        "learning_rate": (1e-3,), "weight_decay": (0.0,), "dropout": (0.0,), "label_smoothing": (0.0,),
        "clip_norm": (0.0,), "batch_size": (64,), "epochs": (1,),
    }  # fmt: skip
    space = joint_space(
        "darts_cells", widths=[WIDTH], cells=[CELLS], channel_multiple=8,
        formats=[(32, 32), (16, 32), (8, 32), (4, 32), (8, 8), (4, 8)], alphas=[1.0], temperatures=[1.0],
        training=training, optimizer="adamw",
    )  # fmt: skip
    random = np.random.default_rng(0)
    return [space.decode(space.sample(random)) for _ in range(count)]


def make_context(folder: Path) -> EvaluationContext:
    dataset = load_dataset(
        "digits", None, seed=0, validation_share=0.2, test_share=0.2, resize=SIZE, augmentation="none"
    )
    return EvaluationContext(
        dataset=dataset, target=open_target("cpu", batch=1, channel_multiple=8), controls={}, limits={}, objectives=(),
        runs=folder, seed=0, teacher=None, lane_folder=default_lane_folder(), threads=1, batch=1,
        largest_code=LARGEST_CODE, finalist_epochs=1, finalist_seconds=None,
    )  # fmt: skip


def compare(candidate: Candidate, context: EvaluationContext, folder: Path) -> tuple[float, float]:
    """Return the seconds of the candidate in int8, by us and by the usual tools."""
    int8 = replace(candidate, quantization=QuantizationPlan((8,) * STAGES, (8,) * STAGES))
    ours = seconds_of(lambda: nominal_file(int8, context))
    return ours, seconds_of(lambda: usual_file(int8, context, folder))


def usual_file(candidate: Candidate, context: EvaluationContext, folder: Path) -> bytes:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(context.dataset.train.pixels[:CALIBRATION_IMAGES])

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {"pixels": image[None]}

    network, buffer = build_network(candidate, task_of(context.dataset), pruned=True).eval(), io.BytesIO()
    example = torch.zeros(1, *context.dataset.input_shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), buffer, dynamo=False, input_names=["pixels"], output_names=["logits"],
            opset_version=20,
        )  # fmt: skip
    path = folder / "usual.onnx"
    quantize_static(
        onnx.load_from_string(buffer.getvalue()), str(path), Images(), per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return path.read_bytes()


def seconds_of(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
