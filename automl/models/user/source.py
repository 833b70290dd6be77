"""Where a user's model comes from: a factory in a module, or a folder; and its weights."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl.candidate import UserModel
from automl.errors import input_error
from automl.models.deployable import Deployable, Task
from automl.models.user.coupled import Coupled
from automl.models.user.folders import open_folder
from automl.models.user.steps import Step
from automl.models.user.traced import TracedModel
from automl.models.user.weights import load_weights

WHERE = "model.source"
FORMS = "package.module:factory, an ONNX file, or a folder with config.json and model.safetensors"
ONNX_SUFFIX = ".onnx"
GREY_NOTE = (
    "the model takes 3 channels and the images have 1: its first convolution was summed over its inputs, which is what "
    "repeating the grey channel would compute"
)
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError, AssertionError)


@dataclass(frozen=True)
class ModelSource:
    """A user's model: what builds it, the file of its weights, and the modules with which its stages begin.

    `source` is "package.module:factory", the path of an ONNX file, or of a folder. `weights` and `stages` are None
    where the factory's fresh weights are meant and where stages are found.
    """

    source: str
    weights: Path | None = None
    stages: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Return what the model is called: its factory, file or folder."""
        return self.source.rpartition(":")[2] if self.is_factory else Path(self.source).stem

    def is_trained(self) -> bool:
        """Tell whether the model comes with weights: given ones, or those of a file or folder."""
        return self.weights is not None or not self.is_factory

    @property
    def is_file(self) -> bool:
        """Tell whether the source is an ONNX file."""
        return Path(self.source).suffix == ONNX_SUFFIX

    @property
    def is_factory(self) -> bool:
        """Tell whether the source is a factory in a module."""
        return not self.is_file and not Path(self.source).is_dir() and ":" in self.source


def build_module(source: ModelSource, task: Task) -> nn.Module:
    """Return the user's module with its given weights, or with fresh ones drawn from torch's generator.

    A factory is called with those of `classes` or `num_classes`, `channels` or `in_channels`, and `image_size` (the
    shorter side in pixels), for texts `length` and `vocabulary`, that it takes by name. It is imported from the working
    directory and what is installed. A module of colour images for grey ones gets a first convolution that is summed
    over its three inputs: exactly what repeating the grey channel three times would compute.

    Args:
        source: a factory or a folder.
        task: what the module is for. A module that is a `Deployable` itself takes its raw samples.

    Raises:
        InputError: where there is no such factory, it builds no module, the weights do not fit, or the module does not
            map such samples to logits of the classes.
    """
    module, _ = build_with_notes(source, task)
    return module


def build_with_notes(source: ModelSource, task: Task) -> tuple[nn.Module, tuple[str, ...]]:
    """Return `build_module` and what was done to the module that its user should know."""
    if source.is_factory:
        module = _call_factory(_find_factory(source.source), source.source, _offered(task))
        if source.weights is not None:
            load_weights(module, source.weights)
    elif Path(source.source).is_dir():
        if source.weights is not None:
            raise input_error("model.weights", "absent where the source is a folder", str(source.weights))
        module = open_folder(Path(source.source), task.classes)
    else:
        raise input_error(WHERE, FORMS, repr(source.source))
    summed = not isinstance(module, Deployable) and adapt_to_grey(module, task)
    _check_answers(module, task)
    return module, (GREY_NOTE,) if summed else ()


def adapt_to_grey(module: nn.Module, task: Task) -> bool:
    """Sum the first convolution over its three inputs where the images are grey; tell whether that was done."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if len(task.input_shape) != 2 or first is None or first.in_channels != 3 or first.groups != 1:
        return False
    summed = first.weight.detach().sum(dim=1, keepdim=True)
    first.weight = nn.Parameter(summed, first.weight.requires_grad)
    first.in_channels = 1
    return True


def module_digest(source: ModelSource, module: nn.Module, steps: Sequence[Step] | None) -> str:
    """Return 16 hex digits over the graph and the given weights of a module; fresh weights are no part of it.

    Args:
        source: of the model.
        module: that it built.
        steps: its graph, None where it cannot be traced: then its layers and its class's code stand for it.
    """
    digest = hashlib.sha256()
    if steps is None:
        digest.update(f"{module!r} {_code(type(module))}".encode())
    else:
        for step in steps:
            told = (step.name, step.kind, step.inputs, step.shape, sorted(step.settings.items()), step.activation)
            digest.update(repr(told).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)}".encode())
    files = sorted(Path(source.source).glob("*.safetensors")) if not source.is_factory else []
    for file in files if source.weights is None else [source.weights]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def describe(network: Deployable, name: str, digest: str, kind: str) -> UserModel:
    """Return what of a user's whole, unpruned network can be chosen: its groups, their widths and stages.

    Args:
        network: fresh from its source.
        name: what it is called.
        digest: of its graph and given weights.
        kind: how it becomes a file, see `UserModel`.
    """
    widths = network.group_widths()
    stages = network.group_stages() if isinstance(network, TracedModel) else _stages_by_order(network)
    return UserModel(
        name=name,
        digest=digest,
        groups=tuple(widths),
        widths=tuple(widths.values()),
        stages=tuple(stages[group] for group in widths),
        stage_count=len(network.stage_ends()),
        kind=kind,
    )


def _stages_by_order(network: Deployable) -> dict[str, int]:
    """Return the stage of each group that is called after a module: how many stages have ended before it."""
    order = {path: index for index, (path, _) in enumerate(network.named_modules())}
    prefix = network.own_prefix() if isinstance(network, Coupled) else ""
    ends = network.stage_ends()

    def ended_before(path: str) -> int:
        return sum(order[end] < order[path] and not path.startswith(f"{end}.") for end in ends)

    return {group: min(ended_before(prefix + group), len(ends) - 1) for group in network.group_widths()}


def _code(kind: type) -> str:
    """Return the source text of a class, "" where there is none: a changed `forward` is another graph."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _offered(task: Task) -> Mapping[str, int]:
    names = {"classes": task.classes, "num_classes": task.classes}
    if len(task.input_shape) == 1:
        return names | {"length": task.input_shape[0], "vocabulary": task.vocabulary}
    return names | {"channels": task.channels, "in_channels": task.channels, "image_size": min(task.input_shape[:2])}


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _find_factory(source: str) -> Callable[..., Any]:
    module_name, _, factory_name = source.partition(":")
    with _working_directory_importable():
        try:
            module = importlib.import_module(module_name)
        except (ImportError, SyntaxError, ValueError) as error:
            remedy = "Run from the folder that holds the module, or install its package."
            raise input_error(WHERE, FORMS, f"{source}: {error}", remedy) from None
    factory = getattr(module, factory_name, None)
    if factory is None or isinstance(factory, nn.Module) or not callable(factory):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        got = "nothing of that name" if factory is None else f"a {type(factory).__name__}"
        remedy = f"It has {', '.join(names[:20])}." if names else ""
        raise input_error(WHERE, f"a function in {module_name} that builds the model", f"{factory_name}: {got}", remedy)
    return factory  # type: ignore[no-any-return]


def _call_factory(factory: Callable[..., Any], source: str, offered: Mapping[str, int]) -> nn.Module:
    try:
        accepted = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        accepted = {}  # type: ignore[assignment]
    arguments = {name: value for name, value in offered.items() if name in accepted}
    try:
        module = factory(**arguments)
    except FAILURES as error:
        called = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise input_error(
            WHERE, f"a factory that {source}({called}) calls", f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise input_error(WHERE, "a factory of a torch.nn.Module", f"a {type(module).__name__} from {source}")
    return module


def _check_answers(module: nn.Module, task: Task) -> None:
    """Check that a batch of zeros gives logits of the classes."""
    example = _example(module, task)
    training = module.training
    kind = str(example.dtype).removeprefix("torch.")
    expected = f"a map from {list(example.shape)} {kind} to [2, {task.classes}] logits"
    try:
        with torch.inference_mode():
            answers = module.eval()(example)
    except FAILURES as error:
        raise input_error(WHERE, expected, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    finally:
        module.train(training)
    if not isinstance(answers, torch.Tensor) or answers.shape != (2, task.classes):
        got = list(answers.shape) if isinstance(answers, torch.Tensor) else type(answers).__name__
        raise input_error(WHERE, expected, str(got), "Let the factory take the number of classes as `classes`.")


def _example(module: nn.Module, task: Task) -> torch.Tensor:
    """Return two samples of zeros as the module takes them."""
    if isinstance(module, Deployable):
        return torch.zeros(2, *task.input_shape, dtype=getattr(torch, task.element))
    if len(task.input_shape) == 1:
        return torch.zeros(2, *task.input_shape, dtype=torch.int64)
    return torch.zeros(2, task.channels, *task.input_shape[:2])
