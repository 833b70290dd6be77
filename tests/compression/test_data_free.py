"""A model of digits and no data: what is invented must be like digits to it, and teach a student."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from automl.candidate import DistillationPlan, TrainingPlan
from automl.compression.data_free import generate_samples, invert_samples, norm_distance, train_generator
from automl.data.dataset import load_dataset
from automl.errors import InputError
from automl.models.deployable import Task
from automl.models.network import Network, build_network
from automl.training.loop import Schedule, TrainingSet, predict_logits, train
from tests.models.architectures import candidate

OPERATIONS = ("conv_3x3", "skip_connect", "skip_connect", "max_pool_3x3") * 2
PLAN = TrainingPlan("adamw", 1e-2, 5e-4, 64, 1, 0.0, 0.0, 5.0)
CHANCE = 0.1


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2)


def fresh(width: int, task: Task) -> Network:
    torch.manual_seed(0)
    kept = (width, 2 * width, 4 * width)
    return build_network(candidate(width=width, kept=kept, cells=2, operations=OPERATIONS), task, pruned=True)


@pytest.fixture(scope="module")
def model(data) -> Network:
    pixels = data.train.pixels
    network = fresh(8, Task((8, 8), 10, (float(pixels.mean()),), (float(pixels.std()),)))
    real = TrainingSet(pixels[None], data.train.labels, None)
    train(network, real, PLAN, DistillationPlan(1.0, 1.0), Schedule(3), phase="x", seed=0)
    return network


def noise(count: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (count, 8, 8)).astype(np.uint8)


def taught_accuracy(model: Network, samples: np.ndarray, data) -> float:
    """Return what a student knows of real digits that saw nothing but `samples` and what the model says of them."""
    student, logits = fresh(4, model.task), predict_logits(model, samples)
    invented = TrainingSet(samples[None], np.full(len(samples), -1), lambda _, i: logits[i])
    train(student, invented, PLAN, DistillationPlan(0.0, 4.0), Schedule(12), phase="x", seed=0)
    return float((predict_logits(student, data.test.pixels).argmax(axis=1) == data.test.labels).mean())


def test_inverted_samples_have_the_statistics_of_the_data_and_teach_a_student(model, data):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    samples = invert_samples(model, 256, seed=0, steps=25, highest=16)
    assert (samples.shape, samples.dtype, samples.max() <= 16) == ((256, 8, 8), np.uint8, True)
    assert norm_distance(model, data.train.pixels[:256]) < norm_distance(model, samples)
    assert norm_distance(model, samples) < 0.25 * norm_distance(model, noise())
    assert taught_accuracy(model, samples, data) > 3 * CHANCE
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_inverted_samples_belong_to_every_class_alike(model):
    samples = invert_samples(model, 40, seed=0, steps=25, highest=16)
    assert (np.bincount(predict_logits(model, samples).argmax(axis=1), minlength=10) >= 2).all()


def test_invert_samples_is_seeded(model):
    first, second, other = (invert_samples(model, 8, seed=seed, steps=2, highest=16) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_generated_samples_have_the_statistics_of_the_data_and_teach_a_student(model, data):
    samples = generate_samples(train_generator(model, seed=0, steps=25, highest=16), 256, seed=0)
    untrained = generate_samples(train_generator(model, seed=0, steps=0, highest=16), 256, seed=0)
    assert (samples.shape, samples.dtype, samples.max() <= 16) == ((256, 8, 8), np.uint8, True)
    assert norm_distance(model, samples) < 0.5 * norm_distance(model, untrained)
    assert len(np.unique(predict_logits(model, samples).argmax(axis=1))) == 10
    assert taught_accuracy(model, samples, data) > 2.5 * CHANCE


def test_generator_fits_any_shape():
    network = fresh(4, Task((9, 6, 3), 10, (120.0,) * 3, (60.0,) * 3))
    assert generate_samples(train_generator(network, seed=0, steps=1), 3, seed=0).shape == (3, 9, 6, 3)


def test_inversion_of_a_model_without_batch_normalisation_is_refused(model):
    class Bare(torch.nn.Module):
        task = model.task

    with pytest.raises(InputError, match="without batch normalisation, which remembers nothing of its data, but got i"):
        invert_samples(Bare(), 1, seed=0)


@pytest.mark.parametrize("invent", [train_generator, lambda model, seed: invert_samples(model, 1, seed=seed)])
def test_inventing_text_is_refused(model, invent):
    class Text(torch.nn.Module):
        task = replace(model.task, element="int64")

    with pytest.raises(InputError, match="must be real for a model that takes no images, but got invented samples"):
        invent(Text(), seed=0)
