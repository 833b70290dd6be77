"""Pruning until an accuracy floor: which ratio each stage bears, found by training, pruning and training on in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.candidate import UserModel
from automl.commands.recipe import PRUNE, make_recipe
from automl.commands.sensitivity import file_score, scan_context
from automl.errors import AutomlError, input_error
from automl.export.methods import stage_summaries

if TYPE_CHECKING:
    from automl.candidate import Candidate
    from automl.commands.joining import Joined
    from automl.compression.schedules import PrunedUntil
    from automl.evaluation import EvaluationContext
    from automl.models.deployable import Deployable
    from automl.space import Choice

FINE_TUNE_SHARE = 0.4  # of the recipe's epochs follow each pruning
DIGITS = 6  # of a ratio


def widths_above(
    document: Mapping[str, Any], choices: Mapping[str, Choice], floor: float, schedule: str, say: Callable[[str], None]
) -> dict[str, Choice]:
    """Return the choices with the largest ratios found at which the exported file keeps the floor on validation.

    What is scored is always the exported file in the recipe's own bits; the recipe is then trained anew at the widths
    that were found. Ratios among `choices` are where pruning ends at the latest.

    Args:
        document: the resolved study as plain values.
        choices: of the recipe.
        floor: the lowest accuracy on validation that will do, a share of 1.
        schedule: "iterative" or "adaptive".
        say: told of each round.

    Raises:
        InputError: where the unpruned network is below the floor, or the recipe is not one.
        AutomlError: where a training diverges.
    """
    unpruned = {key: value for key, value in choices.items() if not key.startswith(PRUNE)}
    joined, candidate = _plain_candidate(document, {**unpruned, f"{PRUNE}*": 0.0})
    found = _prune(joined, candidate, _last_widths(document, choices), floor, schedule, say)
    return {**unpruned, **_ratios(candidate, found.kept_widths, joined.space.names())}


def _plain_candidate(document: Mapping[str, Any], choices: Mapping[str, Choice]) -> tuple[Joined, Candidate]:
    recipe = make_recipe(document, choices)
    return recipe.joined, recipe.joined.space.decode(recipe.point)


def _last_widths(document: Mapping[str, Any], choices: Mapping[str, Choice]) -> tuple[int, ...]:
    """Return the widths at which pruning ends at the latest: by the chosen ratios, else by the study's largest one."""
    if any(key.startswith(PRUNE) for key in choices):
        return _plain_candidate(document, choices)[1].pruning.kept_widths
    largest = max(document["pruning"]["ratios"])
    return _plain_candidate(document, {**choices, f"{PRUNE}*": largest})[1].pruning.kept_widths


def _ratios(candidate: Candidate, kept_widths: tuple[int, ...], names: tuple[str, ...]) -> dict[str, Choice]:
    """Return the share of its channels that each stage loses, as choices."""
    pruned = replace(candidate, pruning=replace(candidate.pruning, kept_widths=kept_widths))
    shares = {
        f"{PRUNE}{index}": round(1 - stage.kept / stage.full, DIGITS)
        for index, stage in enumerate(stage_summaries(pruned))
        if stage.full > 0
    }
    return {name: share for name, share in shares.items() if name in names}


def _multiples(joined: Joined, candidate: Candidate) -> int | tuple[int, ...]:
    """Return what kept widths are multiples of; groups of a user's model may have their own."""
    from search_spaces.user_model import UserModelDecoder

    decoder, model = joined.space.decode_choices, candidate.genotype
    if isinstance(decoder, UserModelDecoder) and isinstance(model, UserModel):
        return tuple(decoder.multiples[group] for group in model.groups)
    return joined.target.channel_multiple


def _prune(
    joined: Joined, candidate: Candidate, last: tuple[int, ...], floor: float, schedule: str, say: Callable[[str], None]
) -> PrunedUntil:
    """Train the unpruned network, then prune and train on in turn until the floor or the last widths are reached."""
    from automl.compression.criteria import Evidence
    from automl.compression.schedules import prune_until
    from automl.evaluation.weights import Recipe, train_candidate
    from automl.study_spec import open_dataset
    from automl.training.loop import DivergedError

    dataset = open_dataset(joined.spec.data)
    train, held = dataset.train, dataset.validation
    with tempfile.TemporaryDirectory(prefix="automl-") as folder:
        context = scan_context(joined, dataset, Path(folder))
        score = _said(file_score(candidate, context), candidate, floor, say)
        try:
            recipe = Recipe(train, candidate.training.epochs, None, None)
            network = train_candidate(candidate, recipe, context).network
            reached = score(network)
            if reached < floor:
                expected = f"at most {reached:.4f}, which the unpruned file reaches on validation"
                raise input_error(
                    "--until-accuracy", expected, floor, "Train for more epochs, or take a wider network."
                )
            return prune_until(
                network, candidate.genotype.stage_widths(), last, floor=floor,
                channel_multiple=_multiples(joined, candidate), fine_tune=_fine_tune(candidate, context), score=score,
                schedule=schedule, criterion=candidate.pruning.criterion,
                evidence=Evidence(train.pixels, train.labels, held.pixels, held.labels, context.seed),
            )  # fmt: skip
        except DivergedError as error:
            raise AutomlError(str(error)) from error


def _said(
    score: Callable[[Any, Any], float], candidate: Candidate, floor: float, say: Callable[[str], None]
) -> Callable[[Deployable], float]:
    """Return what scores a network by its file in the recipe's bits, and tells of it."""

    def scored(network: Deployable) -> float:
        accuracy = score(network, candidate.quantization)
        widths = ", ".join(f"{group} {width}" for group, width in network.group_widths().items())
        say(f"{accuracy:.2%} with {widths}: {'keeps' if accuracy >= floor else 'below'} {floor:.2%}")
        return accuracy

    return scored


def _fine_tune(candidate: Candidate, context: EvaluationContext) -> Callable[[Deployable], None]:
    from automl.candidate import DistillationPlan
    from automl.targets.lanes import training_slot
    from automl.training.loop import Schedule, TrainingSet, train
    from automl.training.views import augmented_views

    dataset = context.dataset
    views = augmented_views(dataset.train.pixels, dataset.augmentation, context.seed)
    data = TrainingSet(views, dataset.train.labels, None)
    schedule = Schedule(max(round(FINE_TUNE_SHARE * candidate.training.epochs), 1))

    def tune(network: Deployable) -> None:
        with training_slot(context.lane_folder) as slot:
            plan, untaught = candidate.training, DistillationPlan(1.0, 1.0)
            train(
                network, data, plan, untaught, schedule, phase="pruned", seed=context.seed, between_steps=slot.give_way
            )

    return tune
