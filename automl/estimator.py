"""The scikit-learn face: one network of a search space as a classifier, so that scikit-learn's searches work on it.

Every dimension of the space is a parameter of the estimator. `fit` trains, prunes and quantizes as a study does and
keeps the exported file; `predict` runs that very file in ONNX Runtime.

    space = joint_space("darts_cells", widths=[16, 32], ...)
    search = GridSearchCV(CompressedClassifier(space), {"width": [16, 32], "bits_0": ["w32a32", "w8a8"]})
    search.fit(images, labels)
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from automl.candidate import Candidate
from automl.errors import Fault, InputError
from automl.space import Choice, SearchSpace

if TYPE_CHECKING:
    from automl.data.dataset import Dataset
    from automl.evaluation import EvaluationContext
    from automl.training.loop import SoftTargets

PREFERRED_OPERATION = "sep_conv_3x3"
AUGMENTATIONS = ("none", "shift", "shift_flip")


@dataclass(frozen=True)
class Choices:
    """A dimension's choices as a distribution for RandomizedSearchCV: each equally likely."""

    values: tuple[Choice, ...]

    def rvs(self, random_state: np.random.RandomState) -> Choice:
        """Return one choice."""
        return self.values[random_state.randint(len(self.values))]


def parameter_distributions(space: SearchSpace) -> dict[str, Choices]:
    """Return the whole space for RandomizedSearchCV.

    They are distributions, not lists, because scikit-learn counts the points of lists, and fails above 2^63.
    """
    return {dimension.name: Choices(dimension.choices) for dimension in space.dimensions}


class CompressedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn carries no types
    """One network of a space: trained, compressed, exported, and run as the exported file.

    Args:
        space: where the network lies.
        choices: values of its dimensions; those not named are plain: the smallest network, uncompressed, no teacher.
        teacher: an ONNX file or a bundle's folder of a network for the same images and classes; None leaves alpha and
            temperature without effect.
        augmentation: "none", "shift" or "shift_flip".
        random_state: decides the initial weights, the order of the images and the augmentation.

    After `fit`: `classes_` (sorted), `candidate_`, `file_` (the exported file's bytes), `size_bytes_`, `curve_`.
    """

    def __init__(
        self,
        space: SearchSpace,
        choices: Mapping[str, Choice] | None = None,
        *,
        teacher: str | Path | None = None,
        augmentation: str = "none",
        random_state: int = 0,
    ) -> None:
        self.space = space
        self.choices = choices
        self.teacher = teacher
        self.augmentation = augmentation
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters and, where `deep`, the value of every dimension."""
        own: dict[str, Any] = super().get_params(deep=False)
        return {**own, **self._chosen()} if deep else own

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters and dimensions by name.

        Raises:
            ValueError: where a name is unknown.
        """
        dimensions = set(params.get("space", self.space).names())
        super().set_params(**{name: value for name, value in params.items() if name not in dimensions})
        chosen = {name: value for name, value in params.items() if name in dimensions}
        if chosen:
            before = {} if self.choices is None else self.choices
            self.choices = {**before, **chosen}
        return self

    def candidate(self) -> Candidate:
        """Return the network that the parameters describe.

        Raises:
            InputError: where a value is none of its dimension's choices.
        """
        return self.space.decode(self.space.point(self._chosen()))

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 # scikit-learn's names
        """Train, prune, quantize and export the network.

        Args:
            X: raw images, `n x h x w` or `n x h x w x channels`, whole numbers from 0 to 255.
            y: `n` labels of any kind.

        Raises:
            InputError: naming every fault of the images, the labels and the parameters.
            DivergedError: where the training leaves the finite numbers.
        """
        candidate = self.candidate()
        labels = np.asarray(y)
        pixels = _pixels(X, labels, self.augmentation)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        with tempfile.TemporaryDirectory(prefix="automl-") as folder:
            context = _context(pixels, indices.astype(np.int64), self, Path(folder))
            self.file_, self.curve_ = _train(candidate, context, self.teacher)
        self.candidate_, self.size_bytes_ = candidate, len(self.file_)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Return the label of each image."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class, `n x classes`, in the order of `classes_`."""
        check_is_fitted(self)
        from automl.targets.session import open_runner

        with tempfile.TemporaryDirectory(prefix="automl-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(self.file_)
            logits = open_runner(path)(_pixels(X, None, self.augmentation)).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _chosen(self) -> dict[str, Choice]:
        return {**plain_choices(self.space), **({} if self.choices is None else self.choices)}


def plain_choices(space: SearchSpace) -> dict[str, Choice]:
    """Return the space's plain network: separable convolutions, small, uncompressed, taught by the labels alone."""
    chosen: dict[str, Choice] = {}
    for dimension in space.dimensions:
        if "_op_" in dimension.name and PREFERRED_OPERATION in dimension.choices:
            chosen[dimension.name] = PREFERRED_OPERATION
        elif dimension.name == "alpha":
            chosen[dimension.name] = max(float(choice) for choice in dimension.choices)
        elif dimension.group == "training":
            chosen[dimension.name] = dimension.choices[len(dimension.choices) // 2]
        else:
            chosen[dimension.name] = dimension.choices[0]
    return chosen


def _pixels(images: ArrayLike, labels: NDArray[Any] | None, augmentation: str) -> NDArray[np.uint8]:
    """Return the images as uint8, with every fault said at once; `labels` None means that none belong to them."""
    array = np.asarray(images)
    faults = []
    if array.ndim not in (3, 4):
        faults.append(Fault("X", "images, n x h x w or n x h x w x channels", f"an array of shape {array.shape}"))
    whole = array.size > 0 and (np.issubdtype(array.dtype, np.integer) or bool(np.all(np.mod(array, 1) == 0)))
    if not whole or array.min() < 0 or array.max() > 255:
        remedy = "Give raw pixels: scaling is part of the network."
        faults.append(Fault("X", "whole numbers from 0 to 255", f"{array.dtype} pixels beyond them", remedy))
    if labels is not None and labels.shape != array.shape[:1]:
        faults.append(Fault("y", f"{len(array)} labels", f"an array of shape {labels.shape}"))
    elif labels is not None and len(np.unique(labels)) < 2:
        faults.append(Fault("y", "labels of at least two classes", "one class only"))
    if augmentation not in AUGMENTATIONS:
        faults.append(Fault("augmentation", f"one of {', '.join(AUGMENTATIONS)}", repr(augmentation)))
    if faults:
        raise InputError(faults)
    return array.astype(np.uint8)


def _context(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], classifier: CompressedClassifier, folder: Path
) -> EvaluationContext:
    """Return what training needs to know; nothing is timed, so there are no controls and no limits."""
    from automl.evaluation import EvaluationContext
    from automl.targets import default_lane_folder, open_target
    from automl.targets.probe import u8s8_saturates

    return EvaluationContext(
        dataset=_dataset(pixels, labels, classifier),
        target=open_target("cpu", batch=1, channel_multiple=1),
        controls={},
        limits={},
        objectives=("accuracy",),
        runs=folder,
        seed=classifier.random_state,
        teacher=None,
        lane_folder=default_lane_folder(),
        threads=1,
        batch=1,
        largest_code=64 if u8s8_saturates() else 127,
        finalist_epochs=1,
        finalist_seconds=None,
    )


def _dataset(pixels: NDArray[np.uint8], labels: NDArray[np.int64], classifier: CompressedClassifier) -> Dataset:
    from automl.data.dataset import Dataset, Split

    split, none = Split(pixels, labels), Split(pixels[:0], labels[:0])
    return Dataset(
        name="images",
        train=split,
        validation=none,
        test=none,
        full_train=split,
        classes=tuple(map(str, classifier.classes_)),
        digest="",
        split_digest="",
        pixel_max=255,
        augmentation=classifier.augmentation,
    )


def _train(
    candidate: Candidate, context: EvaluationContext, teacher: str | Path | None
) -> tuple[bytes, tuple[Any, ...]]:
    from automl.evaluation.weights import Recipe, deployed_file, train_candidate

    split = context.dataset.train
    soft = None if candidate.distillation.alpha == 1.0 else _soft_targets(teacher, context)
    recipe = Recipe(split, candidate.training.epochs, None, soft)
    trained = train_candidate(candidate, recipe, context)
    return deployed_file(trained, candidate, split, context), trained.curve


def _soft_targets(teacher: str | Path | None, context: EvaluationContext) -> SoftTargets | None:
    """Return what the teacher's file says of the training views, None without a teacher."""
    if teacher is None:
        return None
    from automl.evaluation.weights import table_lookup
    from automl.targets.session import open_runner
    from automl.training.views import augmented_views

    path = Path(teacher) / "model.onnx" if Path(teacher).is_dir() else Path(teacher)
    runner, dataset = open_runner(path), context.dataset
    views = augmented_views(dataset.train.pixels, dataset.augmentation, context.seed)
    return table_lookup(np.stack([runner(view) for view in views]))
