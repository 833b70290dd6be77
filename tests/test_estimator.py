from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from automl.errors import InputError
from automl.estimator import Choices, CompressedClassifier, parameter_distributions, plain_choices
from automl.space import SearchSpace
from search_spaces.joint import joint_space


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    training = {
        "learning_rate": (0.004,), "weight_decay": (5e-4,), "batch_size": (32,), "epochs": (1, 4), "dropout": (0.0,),
        "label_smoothing": (0.0,), "clip_norm": (5.0,),
    }  # fmt: skip
    return joint_space(
        "darts_cells", widths=[16], cells=[2, 3], channel_multiple=8, formats=[(32, 32), (8, 8), (4, 32)],
        alphas=[1.0, 0.5], temperatures=[1.0, 4.0], training=training, optimizer="adamw",
    )  # fmt: skip


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits(n_class=2)
    names = np.array(["nought", "one"])
    return digits.images[:160].astype(np.uint8), names[digits.target[:160]]


@pytest.fixture(scope="module")
def fitted(space: SearchSpace, images: tuple[np.ndarray, np.ndarray]) -> CompressedClassifier:
    return CompressedClassifier(space, {"epochs": 4}).fit(*images)


def test_classifier_learns_and_answers_in_the_users_labels(
    fitted: CompressedClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels, labels = images
    assert set(fitted.predict(pixels)) <= {"nought", "one"}
    assert fitted.score(pixels, labels) >= 0.95


def test_predict_proba_sums_to_one(fitted: CompressedClassifier, images: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities = fitted.predict_proba(images[0][:5])
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_fitted_classifier_survives_pickling(
    fitted: CompressedClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(images[0][:3]), fitted.predict_proba(images[0][:3]))


def test_compression_makes_the_file_smaller(
    fitted: CompressedClassifier, space: SearchSpace, images: tuple[np.ndarray, np.ndarray]
) -> None:
    pruned = CompressedClassifier(space, {f"prune_{stage}": 0.5 for stage in range(3)}).fit(*images)
    assert pruned.size_bytes_ < 0.6 * fitted.size_bytes_


def test_teacher_changes_the_trained_file(
    fitted: CompressedClassifier, space: SearchSpace, images: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(fitted.file_)
    choices = {"alpha": 0.5, "temperature": 4.0}
    alone = CompressedClassifier(space, choices).fit(*images)
    taught = CompressedClassifier(space, choices, teacher=tmp_path).fit(*images)
    assert alone.file_ != taught.file_


def test_grid_search_finds_the_longer_training(space: SearchSpace, images: tuple[np.ndarray, np.ndarray]) -> None:
    search = GridSearchCV(CompressedClassifier(space), {"epochs": [1, 4]}, cv=2)
    search.fit(*images)
    assert len(search.cv_results_["params"]) == 2
    assert search.best_estimator_.candidate_.training.epochs == search.best_params_["epochs"]


def test_randomized_search_samples_the_whole_space(space: SearchSpace, images: tuple[np.ndarray, np.ndarray]) -> None:
    search = RandomizedSearchCV(
        CompressedClassifier(space), parameter_distributions(space), n_iter=2, cv=2, random_state=0, refit=False,
        error_score="raise",
    )  # fmt: skip
    search.fit(*images)
    chosen = search.cv_results_["params"]
    assert all(set(params) == set(space.names()) for params in chosen)
    assert chosen[0] != chosen[1]


def test_get_params_names_every_dimension(space: SearchSpace) -> None:
    classifier = CompressedClassifier(space, {"width": 16})
    assert set(space.names()) <= set(classifier.get_params())
    assert classifier.get_params()["prune_1"] == 0.0
    assert "prune_1" not in classifier.get_params(deep=False)


def test_set_params_reaches_the_candidate(space: SearchSpace) -> None:
    classifier = CompressedClassifier(space).set_params(bits_1="w8a8", random_state=3)
    assert classifier.candidate().quantization.pairs()[1] == (8, 8)
    assert clone(classifier).get_params(deep=False)["choices"] == {"bits_1": "w8a8"}


def test_set_params_refuses_unknown_names(space: SearchSpace) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        CompressedClassifier(space).set_params(nonsense=1)


def test_fit_refuses_a_value_outside_the_space(space: SearchSpace, images: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"space darts_cells: width must be one of \[16\], but got 20"):
        CompressedClassifier(space, {"width": 20}).fit(*images)


def test_fit_names_every_fault_of_the_data(space: SearchSpace) -> None:
    with pytest.raises(InputError) as raised:
        CompressedClassifier(space, augmentation="mixup").fit(np.full((4, 8), 0.5), np.zeros(3))
    assert [fault.where for fault in raised.value.faults] == ["X", "X", "y", "augmentation"]


def test_fit_refuses_one_class(space: SearchSpace) -> None:
    with pytest.raises(InputError, match="one class only"):
        CompressedClassifier(space).fit(np.zeros((4, 8, 8), np.uint8), np.zeros(4))


def test_predict_before_fit_says_so(space: SearchSpace) -> None:
    with pytest.raises(NotFittedError):
        CompressedClassifier(space).predict(np.zeros((1, 8, 8), np.uint8))


def test_plain_choices_lie_in_the_space(space: SearchSpace) -> None:
    candidate = space.decode(space.point(plain_choices(space)))
    assert not candidate.is_compressed()
    assert candidate.distillation.alpha == 1.0


def test_choices_draws_each_value() -> None:
    random = np.random.RandomState(0)
    drawn = {Choices((1, 2, 3)).rvs(random) for _ in range(60)}  # misses one of three: 3 x (2/3)^60, below 1e-9
    assert drawn == {1, 2, 3}
