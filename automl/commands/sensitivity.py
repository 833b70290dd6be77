"""The command `sensitivity`: what each stage of one network loses by each ratio and by each pair of bits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.joining import Joined, enqueued, join, load_spec, storage_of, study_folder
from automl.commands.output import print_json, print_table, print_text, remark
from automl.commands.recipe import queued
from automl.errors import AutomlError, InputError, input_error

if TYPE_CHECKING:
    from automl.candidate import Candidate, QuantizationPlan
    from automl.compression.sensitivity import Pair, Score, SensitivityScan
    from automl.data.dataset import Dataset
    from automl.evaluation import EvaluationContext
    from automl.models.deployable import Deployable
    from automl.space import Choice
    from automl.views.sensitivity import Level, Sensitivity

COMPRESSION = ("pruning", "quantization", "distillation")  # groups that a scanned network leaves plain
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Of the one training, in place of the study's epochs.")
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", min=0.0, max=1.0, help="Share of accuracy that the suggestion may lose.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Write a self-contained page with the curves there.")]


def sensitivity(
    spec: options.Spec,
    epochs: Epochs = None,
    tolerance: Tolerance = 0.01,
    out: Out = None,
    data: options.Data = None,
    name: options.Name = None,
    storage: options.Storage = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train one network, then score its exported file with one stage pruned or quantized at a time.

    It is the first network in the study's queue, else a known one, else the largest of the space. The allocation that
    the scan suggests is printed as an entry of search.enqueue; `automl report` shows the curves.
    """
    from automl.views.sensitivity import write_sensitivity

    joined = join(load_spec(spec, {"data.path": data, "name": name}))
    folder = study_folder(storage_of(joined.spec, storage), joined.spec.name)
    found = scan_study(joined, epochs, tolerance, lambda text: remark(text, quiet or as_json))
    kept = write_sensitivity(folder, found)
    if out is not None:
        _write_page(out, joined.spec.name, found)
    if as_json:
        print_json({"study": joined.spec.name, "kept": kept, "page": out, **vars(found)})
    else:
        _print(found)
        remark(f"Kept in {kept}; `automl report` shows it.", quiet)


def scan_study(joined: Joined, epochs: int | None, tolerance: float, say: Any) -> Sensitivity:
    """Return the scan of one network of a study; `say` is told of each step.

    Raises:
        InputError: where the data cannot be read.
        AutomlError: where the training diverges.
    """
    from automl.compression.sensitivity import scan, suggest
    from automl.evaluation.weights import Recipe, train_candidate
    from automl.export.methods import RUNTIMES, architecture_words
    from automl.study_spec import open_dataset
    from automl.views.sensitivity import Sensitivity

    dataset = open_dataset(joined.spec.data)
    base, candidate = scanned_network(joined)
    count = candidate.training.epochs if epochs is None else epochs
    with tempfile.TemporaryDirectory(prefix="automl-") as folder:
        context = scan_context(joined, dataset, Path(folder))
        say(f"Training {architecture_words(candidate)} for {count} epochs...")
        recipe = Recipe(dataset.train, count, None, None)
        network = _trained(lambda: train_candidate(candidate, recipe, context).network)
        say("Scoring a file for each stage and level...")
        found = scan(
            network, _ratios(joined), _pairs(joined), file_score(candidate, context), joined.target.channel_multiple,
            stages=_stages(candidate),
        )  # fmt: skip
    allocation = suggest(found, tolerance)
    samples, names = len(dataset.validation), joined.space.names()
    return Sensitivity(
        network=architecture_words(candidate),
        epochs=count,
        samples=samples,
        device=joined.target.fingerprint,
        runtime=RUNTIMES[candidate.runtime],
        plain=_level("plain", 0, "", found.baseline, samples),
        levels=_levels(found, samples),
        suggestion={**base, **{key: value for key, value in allocation.to_choices().items() if key in names}},
        tolerance=tolerance,
    )


def _trained(train: Callable[[], Deployable]) -> Deployable:
    from automl.training.loop import DivergedError

    try:
        return train()
    except DivergedError as error:
        raise AutomlError(str(error)) from error


def scanned_network(joined: Joined) -> tuple[dict[str, Choice], Candidate]:
    """Return an entry of `search.enqueue` for the network to scan, and that network, uncompressed and untaught.

    It is the first one in the queue, else the first known one in the space; the entry is empty where there is neither,
    and the network the largest one.
    """
    from automl.candidate import DistillationPlan
    from automl.evaluation import largest_candidate

    for entry in _entries(joined):
        try:
            (point,) = enqueued(queued(joined, entry))
        except InputError:
            continue
        plain = joined.space.decode(point).twin()
        return entry, replace(plain, distillation=DistillationPlan(1.0, 1.0)).canonical()
    return {}, largest_candidate(joined.space)


def _entries(joined: Joined) -> list[dict[str, Choice]]:
    """Return the entries to try: the first of the queue, else every known genotype; a user's model is its own."""
    from search_spaces.genotypes import KNOWN

    is_cells = joined.spec.model is None
    said = [_entry(one, is_cells) for one in joined.spec.search.enqueue[:1]]
    known: list[dict[str, Choice]] = [{"genotype": one} for one in reversed(list(KNOWN))] if is_cells else [{}]
    return [_without_compression(joined, one) for one in said] or known


def _entry(said: str | Mapping[str, Choice], is_cells: bool) -> dict[str, Choice]:
    if isinstance(said, str):
        return {"genotype": said} if is_cells else {}
    return dict(said)


def _without_compression(joined: Joined, entry: Mapping[str, Choice]) -> dict[str, Choice]:
    compressing = [one.name for one in joined.space.dimensions if one.group in COMPRESSION]

    def compresses(key: str) -> bool:
        return any(name.startswith(key[:-1]) if key.endswith("*") else name == key for name in compressing)

    return {key: value for key, value in entry.items() if not compresses(key)}


def _choices(joined: Joined, prefix: str) -> list[Choice]:
    """Return what the dimensions whose names start so can be, each once, in their order."""
    found = (one.choices for one in joined.space.dimensions if one.name.startswith(prefix))
    return list(dict.fromkeys(choice for choices in found for choice in choices))


def _ratios(joined: Joined) -> list[float]:
    return [float(ratio) for ratio in _choices(joined, "prune_") if float(ratio) > 0]


def _pairs(joined: Joined) -> list[Pair]:
    from search_spaces.quantization import parse_pair

    return [parse_pair(str(name)) for name in _choices(joined, "bits_")]


def _stages(candidate: Candidate) -> tuple[int, ...] | None:
    from automl.candidate import UserModel

    return candidate.genotype.stages if isinstance(candidate.genotype, UserModel) else None


def scan_context(joined: Joined, dataset: Dataset, runs: Path) -> EvaluationContext:
    """Return what training and scoring need of a context; nothing is timed, so there are no controls."""
    from automl.evaluation import EvaluationContext
    from automl.search.study_context import model_source
    from automl.targets import default_lane_folder
    from automl.targets.probe import u8s8_saturates

    spec = joined.spec
    return EvaluationContext(
        dataset=dataset,
        target=joined.target,
        controls={},
        limits={},
        objectives=spec.objectives,
        runs=runs,
        seed=spec.search.seed,
        teacher=None,
        lane_folder=default_lane_folder(),
        threads=1,
        batch=spec.target.batch,
        largest_code=64 if u8s8_saturates() else 127,
        finalist_epochs=spec.finalists.epochs,
        finalist_seconds=None,
        model=model_source(spec),
    )


def file_score(candidate: Candidate, context: EvaluationContext) -> Score:
    """Return what scores a network under a plan: its exported file on validation, in the target's runtime."""
    from automl.evaluation.files import keep_file
    from automl.evaluation.scoring import score_file
    from automl.evaluation.weights import Trained, deployed_file

    def score(network: Deployable, plan: QuantizationPlan) -> float:
        planned = replace(candidate, quantization=plan)
        content = deployed_file(Trained(network, None, (), 0.0, 0), planned, context.dataset.train, context)
        artefact = keep_file(content, context.runs)
        path, split = context.runs / artefact.path, context.dataset.validation
        accuracy, _ = score_file(path, artefact.sha256, split, context, runtime=candidate.runtime)
        path.unlink(missing_ok=True)
        return accuracy.value

    return score


def _level(axis: str, stage: int, level: str, accuracy: float, samples: int) -> Level:
    from automl.evaluation.scoring import wilson_interval
    from automl.views.sensitivity import Level

    return Level(axis, stage, level, accuracy, *wilson_interval(round(accuracy * samples), samples))


def _levels(found: SensitivityScan, samples: int) -> tuple[Level, ...]:
    """Return every level that was scored, with the uncompressed file at the head of each curve."""
    from automl.views.sensitivity import BITS, RATIO
    from search_spaces.quantization import PLAIN, pair_name

    levels = []
    for stage, by_ratio in enumerate(found.by_ratio):
        curve = {"0": found.baseline, **{f"{ratio:g}": accuracy for ratio, accuracy in by_ratio.items()}}
        levels += [_level(RATIO, stage, level, accuracy, samples) for level, accuracy in curve.items()]
    for stage, by_bits in enumerate(found.by_bits):
        curve = {PLAIN: found.baseline, **{pair_name(*pair): accuracy for pair, accuracy in by_bits.items()}}
        levels += [_level(BITS, stage, level, accuracy, samples) for level, accuracy in curve.items()]
    return tuple(levels)


def _print(found: Sensitivity) -> None:
    from automl.views.sensitivity import allocation_words, sensitivity_rows, sensitivity_words, suggestion_words

    print_text(sensitivity_words(found))
    print_text("")
    print_table("Accuracy of the file, one stage changed at a time", *sensitivity_rows(found))
    print_text(f"\n{allocation_words(found)}")
    print_text(suggestion_words(found))


def _write_page(path: Path, name: str, found: Sensitivity) -> None:
    from automl.views.sensitivity import sensitivity_page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sensitivity_page(name, found), encoding="utf-8")
    except OSError as error:
        raise input_error(f"--out {path}", "a file that can be written", error) from error
