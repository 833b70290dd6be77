"""Models whose graph is not written by us: any torch module, through torch's exporter, and a user's ONNX file.

torch's TorchScript exporter is used: it takes 0.4 to 1.3 s where the one over torch.export takes 3 to 13 s (and two
more packages), and it names each node after the module that it stands in, which is how stages are known.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.compression.onnx.interface import rebatched, with_interface
from automl.compression.onnx.optimisation import largest_difference, optimised, parse_model
from automl.compression.onnx.passes import run_once
from automl.compression.onnx.quantization import StageOf, observed_file, quantize_onnx
from automl.errors import input_error
from automl.models.deployable import INPUT, OUTPUT, Axis, Chain, Deployable, Task
from automl.models.number_formats import Codes

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the newest that the exporter writes
TOLERANCE = 1e-3  # of max(1, the largest logit), between torch and the file
CHECKED_BATCHES = 2


class FileBacked(Deployable):
    """A network that becomes a file as a whole, by an exporter or because it is one; its channels stay as they are.

    Args:
        task: what the network is for.
        stages: prefixes of module paths ("layer1"), first stage first; a node outside of all belongs to the stage of
            the node before it. None: the whole network is one stage.
    """

    def __init__(self, task: Task, stages: Sequence[str] = ()) -> None:
        super().__init__()
        self.task, self.stages = task, tuple(stages)

    def float_file(self, batch: int) -> bytes:
        """Return the floating-point file, optimised, of static batch."""
        raise NotImplementedError

    def write(self, plan: QuantizationPlan, *, codes: Codes | None, largest_code: int, batch: int) -> bytes:
        """Return the ONNX file; see `Deployable.write`."""
        content = self.float_file(batch)
        stage_of = stages_by_name(parse_model(content), self.stages)
        return quantize_onnx(content, plan, codes=codes, stage_of=stage_of, largest_code=largest_code)

    def observed(self, batch: int) -> tuple[bytes, tuple[str, ...]]:
        """Return the floating-point file that shows every site; see `Deployable.observed`."""
        return observed_file(self.float_file(batch))

    def coupled_axes(self) -> Iterator[Axis]:
        """Yield nothing: which channels go together is not known."""
        return iter(())

    def group_widths(self) -> dict[str, int]:
        """Return no group."""
        return {}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return no group; there is no width to keep.

        Raises:
            InputError: where a plan names widths.
        """
        if kept_widths:
            raise input_error("pruning of this model", "without channels: its graph is not known", tuple(kept_widths))
        return {}

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Deployable:
        """Return a copy: no channel is lost.

        Raises:
            InputError: where channels of a group are named.
        """
        if kept:
            raise input_error("pruning of this model", "without channels: its graph is not known", sorted(kept))
        return copy.deepcopy(self)

    def without(self, dropped: Sequence[str]) -> Deployable:
        """Return a copy: no operation can be dropped.

        Raises:
            InputError: where operations are named.
        """
        if dropped:
            raise input_error("pruning.drop for this model", "empty: its graph is not known", tuple(dropped))
        return copy.deepcopy(self)


class Opaque(FileBacked):
    """Any torch module from raw samples to logits, written by torch's exporter.

    Args:
        module: takes `n x` raw samples of the task, `n x classes` logits out.
        task: what the network is for.
        stages: see `FileBacked`; paths inside of `module`.
    """

    def __init__(self, module: nn.Module, task: Task, stages: Sequence[str] = ()) -> None:
        super().__init__(task, stages)
        self.module = module

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map raw samples to logits, as the module does."""
        return self.module(pixels)  # type: ignore[no-any-return]

    def float_file(self, batch: int) -> bytes:
        """Return the exported file, optimised.

        Raises:
            InputError: where the module cannot be exported, or its file answers otherwise than the module.
        """
        content = optimised(export_module(self.module, self.task, batch))
        self._check(content, batch)
        return content

    def stage_ends(self) -> tuple[str, ...]:
        """Return the modules of the stages; the whole module where none are named."""
        return tuple(f"module.{name}" for name in self.stages) or ("module",)

    def with_chains(self, chains: Mapping[str, Chain]) -> Deployable:
        """Return a copy in which the layer of each name is a chain of layers."""
        replaced = copy.deepcopy(self)
        for name, chain in chains.items():
            parent, _, leaf = name.rpartition(".")
            setattr(replaced.get_submodule(parent), leaf, copy.deepcopy(chain))
        return replaced

    def _check(self, content: bytes, batch: int) -> None:
        """Run module and file on random samples: a trace can miss what depends on values."""
        name, random = type(self.module).__name__, np.random.default_rng(0)
        for _ in range(CHECKED_BATCHES):
            samples = random_samples(self.task, batch, random)
            with torch.no_grad(), _evaluating(self.module):
                expected = self.module(torch.from_numpy(samples)).numpy()
            if expected.shape != (batch, self.task.classes):
                shape = (batch, self.task.classes)
                raise input_error(f"the output of {name}", f"logits of shape {shape}", expected.shape)
            difference = largest_difference([expected], run_once(content, {INPUT: samples}, [OUTPUT]))
            if not difference <= TOLERANCE:
                raise input_error(
                    f"the model {name}", "traceable: its exported file must answer as it does",
                    f"answers that differ by {difference:.2g}",
                    "A branch or a Python number that depends on the values of its input is lost in the file.",
                )  # fmt: skip


class OnnxFile(FileBacked):
    """A user's ONNX file: to be optimised, quantized, timed, and asked as a teacher; it has no gradients.

    Its input is the task's raw samples, or for images float `n x channels x h x w`, which are then normalised in
    front of it with the task's mean and deviation.

    Args:
        content: the file.
        task: what the network is for.
        stages: see `FileBacked`; prefixes of node names, as exporters make them of module paths.

    Raises:
        InputError: where the file is no model of this task; says what differs.
    """

    def __init__(self, content: bytes, task: Task, stages: Sequence[str] = ()) -> None:
        super().__init__(task, stages)
        self.content = with_interface(parse_model(content), task).SerializeToString(deterministic=True)
        self._sessions: dict[int, Any] = {}
        self.float_file(1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map raw samples to logits with ONNX Runtime; the result has no gradients."""
        batch = len(pixels)
        if batch not in self._sessions:
            self._sessions = {batch: _session(self.float_file(batch))}
        logits = self._sessions[batch].run([OUTPUT], {INPUT: pixels.cpu().numpy()})[0]
        return torch.from_numpy(logits).to(pixels.device)

    def float_file(self, batch: int) -> bytes:
        """Return the file, optimised, at this batch.

        Raises:
            InputError: where it has another static batch that its nodes depend on, or other classes.
        """
        model = rebatched(parse_model(self.content), batch)
        content = optimised(model.SerializeToString(deterministic=True))
        samples = random_samples(self.task, batch, np.random.default_rng(0))
        logits = run_once(content, {INPUT: samples}, [OUTPUT])[0]
        if logits.shape != (batch, self.task.classes) or logits.dtype != np.float32:
            got = f"{logits.dtype} of shape {logits.shape}"
            raise input_error(
                "the output of the ONNX file", f"float32 logits of shape {(batch, self.task.classes)}", got
            )
        return content

    def stage_ends(self) -> tuple[str, ...]:
        """Return the prefixes of the stages; they name no modules, a file has none."""
        return self.stages or ("",)

    def with_chains(self, chains: Mapping[str, Chain]) -> Deployable:
        """Return a copy: a file has no layers to replace.

        Raises:
            InputError: where layers are named.
        """
        if chains:
            raise input_error("pruning.ranks for an ONNX file", "[1.0]: it has no weights to train", sorted(chains))
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sessions out of copies and of what crosses processes."""
        return {**self.__dict__, "_sessions": {}}


def export_module(module: nn.Module, task: Task, batch: int) -> bytes:
    """Return the ONNX file of a module as torch writes it, batch normalisation and dropout in place.

    Raises:
        InputError: where it cannot be traced or an operation has no ONNX form; names the module and the reason.
    """
    example = torch.zeros(batch, *task.input_shape, dtype=getattr(torch, task.element))
    example = example.to(next((value.device for value in module.parameters()), torch.device("cpu")))
    buffer: Any = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad(), _evaluating(module):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (example,), buffer, dynamo=False, input_names=[INPUT], output_names=[OUTPUT],
                opset_version=OPSET, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
            )  # fmt: skip
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise input_error(
            f"the model {type(module).__name__}",
            f"traceable from {task.element} of shape {(batch, *task.input_shape)} and exportable to ONNX",
            f"{type(error).__name__}: {reason}",
        ) from error
    content: bytes = buffer.getvalue()
    return content


def random_samples(task: Task, batch: int, random: np.random.Generator) -> np.ndarray:
    """Return random raw samples: pixels, or token ids of the vocabulary."""
    shape, element = (batch, *task.input_shape), np.dtype(task.element)
    if element.kind in "iu":
        highest = 256 if element == np.uint8 else max(task.vocabulary, 2)
        return random.integers(0, highest, shape).astype(element)
    return random.normal(size=shape).astype(element)


def stages_by_name(model: onnx.ModelProto, prefixes: Sequence[str]) -> StageOf:
    """Return the stage of each node, by its name: of the prefix that holds its module path, or of the node before."""
    stages, stage = {}, 0
    for node in model.graph.node:
        path = module_path(node.name)
        matching = [at for at, prefix in enumerate(prefixes) if path == prefix or path.startswith(f"{prefix}.")]
        stage = matching[-1] if matching else stage
        stages[node.name] = stage
    return lambda name: stages.get(name, stages.get(name.removesuffix(".bias"), 0))


def module_path(name: str) -> str:
    """Return the dotted path of the module that an exporter named a node after: "/a/a.0/conv/Conv" is "a.0.conv"."""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation for a while."""
    before = {one: one.training for one in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for one, training in before.items():
            one.training = training


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
