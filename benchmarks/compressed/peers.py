"""The peers: the uncompressed network, what other tools make of it, pruning by hand, and a narrow one from scratch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from automl.candidate import Candidate
from automl.compression.pruning import nominal_structure
from automl.evaluation.files import keep_file, nominal_file
from automl.evaluation.networks import as_deployed, unpruned_network
from automl.evaluation.weights import deployed_file
from automl.targets.lanes import training_slot
from automl.targets.probe import u8s8_saturates
from automl.training.loop import Schedule, TrainingSet, train
from automl.training.views import augmented_views
from compressed.bench import MANY, POINT, RATIOS, Bench, Row, ratio_to, train_for, widths_of


def uncompressed(bench: Bench) -> Row:
    candidate = bench.candidate()
    trained = train_for(bench, candidate, bench.seconds)
    folder = bench.context.runs / "uncompressed"
    folder.mkdir(exist_ok=True)
    torch.save(trained.network.state_dict(), folder / "state.pt")
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    return bench.finished("uncompressed", content, candidate, trained.seconds, "as it is")


def onnxruntime_int8(bench: Bench, plain: Row) -> Row:
    """ONNX Runtime's own static quantization of the uncompressed file: QDQ, unsigned activations, per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.samples = iter(calibration_samples(bench))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"pixels": sample} for sample in self.samples), None)

    made = bench.context.runs / "onnxruntime_int8.onnx"
    quantize_static(
        plain.path, str(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=u8s8_saturates(),
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    candidate = bench.candidate()
    return bench.finished(
        "ONNX Runtime int8", made.read_bytes(), candidate, plain.seconds, "quantize_static, per channel"
    )


def nncf_int8(bench: Bench, plain: Row) -> Row:
    """NNCF's post-training quantization of the uncompressed file, served by OpenVINO."""
    import nncf
    import onnx

    model = onnx.load(plain.path)
    data = nncf.Dataset(calibration_samples(bench), lambda sample: {"pixels": sample})
    quantized = nncf.quantize(model, data, subset_size=256)
    candidate = replace(bench.candidate(), runtime="openvino")
    return bench.finished(
        "NNCF int8 on OpenVINO", quantized.SerializeToString(), candidate, plain.seconds, "nncf.quantize"
    )


def openvino_bf16(bench: Bench, plain: Row) -> Row:
    """The uncompressed network, its weights stored in sixteen bits and computed with in bfloat16 by OpenVINO."""
    candidate = bench.candidate(**{"bits_*": "w16a16", "runtime": "openvino"})
    network = unpruned_network(candidate, bench.context)
    network.load_state_dict(torch.load(bench.context.runs / "uncompressed" / "state.pt", weights_only=True))
    content = network.eval().write(candidate.quantization, codes=None, largest_code=127, batch=1)
    return bench.finished("OpenVINO bf16", as_deployed(content, candidate), candidate, plain.seconds, "w16a16")


def calibration_samples(bench: Bench) -> list[np.ndarray]:
    train_split = bench.context.dataset.train
    chosen = np.random.default_rng(0).permutation(len(train_split))[:256]
    return [train_split.pixels[index][None] for index in chosen]


def best_pruned(bench: Bench, plain: Row) -> Row:
    """Prune evenly, fine-tune, serve by the faster runtime; of those within a point on validation the fastest."""
    rows = []
    for ratio in RATIOS:
        candidate = bench.candidate(**{"prune_*": ratio})
        rows.append(bench.row(f"pruned {ratio}", lambda c=candidate, r=ratio: pruned_row(bench, c, r)))  # type: ignore[misc]
    within = [row for row in rows if row.validation >= plain.validation - POINT]
    pool = within if within else [max(rows, key=lambda row: row.validation)]
    best = min(pool, key=lambda row: ratio_to(bench, row, plain)[0])
    return replace(best, name="best of prune + fine-tune", what=best.name)


def pruned_row(bench: Bench, candidate: Candidate, ratio: float) -> Row:
    trained = train_for(bench, candidate, bench.seconds)
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    row = bench.finished(f"pruned {ratio}", content, candidate, trained.seconds, f"l1, {ratio:g} of every width")
    return faster_runtime(bench, row)


def faster_runtime(bench: Bench, row: Row) -> Row:
    """Return the row served by the faster of the runtimes; its answers are scored again there."""
    others = [name for name in bench.joined.spec.target.runtimes if name != row.runtime]
    found = row
    for runtime in others:
        other = replace(row, runtime=runtime)
        if ratio_to(bench, other, found)[2] < 1:
            candidate = replace(bench.candidate(), runtime=runtime)
            found = bench.finished(
                row.name, Path(row.path).read_bytes(), candidate, row.seconds, f"{row.what}, {runtime}"
            )
    return found


def from_scratch(bench: Bench, ours: Row) -> Row:
    """An evenly narrow network of our row's latency, trained from fresh weights all the time."""
    context, best = bench.context, None
    for ratio in np.linspace(0.0, 0.9, 7):
        candidate = narrowed(bench, float(ratio))
        artefact = keep_file(nominal_file(candidate, context), context.runs, "nominal")
        row = Row("nominal", str(context.runs / artefact.path), artefact.sha256, "onnxruntime", 0, 0, 0, 0, "")
        distance = abs(np.log(min(ratio_to(bench, one, ours)[0] for one in either_runtime(bench, row))))
        if best is None or distance < best[0]:
            best = (distance, candidate)
    assert best is not None
    candidate, started = best[1], time.monotonic()
    torch.manual_seed(context.seed)
    network = nominal_structure(unpruned_network(candidate, context), candidate.pruning)
    for module in network.modules():
        if hasattr(module, "reset_parameters") and not isinstance(module, torch.nn.Sequential):
            module.reset_parameters()
    split = context.dataset.train
    views = augmented_views(split.pixels, context.dataset.augmentation, context.seed)
    with training_slot(context.lane_folder, cores=context.threads) as slot:
        torch.set_num_threads(context.threads)
        train(
            network, TrainingSet(views, split.labels, None), candidate.training, candidate.distillation,
            Schedule(MANY, 0.0, 1.0, bench.seconds), phase="dense", seed=context.seed, between_steps=slot.give_way,
        )  # fmt: skip
    seconds = time.monotonic() - started
    content = network.write(candidate.quantization, codes=None, largest_code=context.largest_code, batch=1)
    row = bench.finished("same latency from scratch", content, candidate, seconds, widths_of(candidate))
    return replace(faster_runtime(bench, row), name="same latency from scratch")


def narrowed(bench: Bench, ratio: float) -> Candidate:
    """Return the network with the share `ratio` of every width gone, in multiples of 8."""
    plain = bench.candidate()
    kept = tuple(max(8, round(width * (1 - ratio) / 8) * 8) for width in plain.genotype.stage_widths())
    kept = tuple(map(min, kept, plain.genotype.stage_widths()))
    return replace(plain, pruning=replace(plain.pruning, kept_widths=kept)).canonical()


def either_runtime(bench: Bench, row: Row) -> Iterator[Row]:
    yield from (replace(row, runtime=runtime) for runtime in bench.joined.spec.target.runtimes)
