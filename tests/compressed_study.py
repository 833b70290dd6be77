"""A small recipe, really trained on digits by the command line, with latencies from a recorded device.

Imports what it needs when it is asked: every test session loads this module for its fixture.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SETS = ("prune_*=0.5", "bits_*=w8a8")
STUDY = """
name: tiny
data: {source: digits, train_limit: 200, validation_limit: 60}
target: {name: "recorded:device.json", channel_multiple: 4}
space: {widths: [8], cells: [2]}
training: {epochs: 1, batch_size: 64, learning_rate: 0.01}
distillation: {alphas: [1.0], temperatures: [1.0]}
teacher: {source: none}
budget: {trials: 2}
finalists: {count: 1, epochs: 1}
search: {executor: inline}
"""


def study_file(folder: Path, compressed_ms: float = 0.5) -> Path:
    """Return a study file whose device knows the recipe of `SETS`, its twin (1 ms) and its ablations (0.8 ms)."""
    from automl.commands.joining import load_spec
    from automl.commands.recipe import make_recipe, parse_choices
    from automl.search.ablation import variants

    path = folder / "tiny.yaml"
    path.write_text(STUDY)
    record_latencies(folder, {})
    recipe = make_recipe(load_spec(str(path), {}).to_json(), parse_choices(SETS))
    candidate = recipe.joined.space.decode(recipe.point)
    found = [one.candidate for one in variants(candidate, None, "onnxruntime") if one.candidate is not None]
    latencies = {one.shape_key((8, 8), 10): 0.8 for one in found}
    latencies |= {candidate.twin().shape_key((8, 8), 10): 1.0, candidate.shape_key((8, 8), 10): compressed_ms}
    record_latencies(folder, latencies)
    return path


def record_latencies(folder: Path, latencies: dict[str, float]) -> None:
    from automl.targets.recorded import write_recording

    write_recording(
        folder / "device.json",
        fingerprint="a recorded device",
        channel_multiple=4,
        controls={"fp32": 2.0, "int8": 1.5},
        latency_ms=latencies,
    )


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/runs/automl.db"


def compress(folder: Path, *arguments: str) -> int:
    """Run `automl compress` on the study in the folder and return its exit code."""
    from automl import cli

    return cli.run(["compress", str(folder / "tiny.yaml"), "--storage", url_of(folder), *arguments])


def set_options() -> list[str]:
    return [part for text in SETS for part in ("--set", text)]


@pytest.fixture(scope="session")
def compressed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of one trial that was compressed and retrained, its twin, and its bundle in `bundle`."""
    folder = study_file(tmp_path_factory.mktemp("compressed")).parent
    assert compress(folder, *set_options(), "--quiet", "--out", str(folder / "bundle")) == 0
    return folder
