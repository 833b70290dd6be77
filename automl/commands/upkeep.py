"""Commands about the machine and what lies on it: dashboard, clean, doctor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.joining import connect_existing, runs_folder, study_folder
from automl.commands.output import print_json, print_table, print_text, remark

if TYPE_CHECKING:
    from automl.storage import Store, StudyRecord
    from automl.targets import Format
    from automl.targets.probe import ProbeReport

KEPT_KINDS = ("controls", "teacher")  # folders of a run folder that every later session needs

Port = Annotated[int, typer.Option("--port", help="The port on this machine; 0 takes a free one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")]
NoProbe = Annotated[
    bool, typer.Option("--no-probe/--probe", help="Facts only, or what pays here as well: small kernels, timed.")
]


def clean(
    storage: options.Storage = None,
    dry_run: DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove the files that no front, finalist or teacher needs; the record stays whole.

    Studies that are being driven are left alone.
    """
    removed: list[Path] = []
    freed = 0
    with connect_existing(storage) as store:
        for study in store.studies():
            if store.is_leased(study.id) is not None:
                remark(f"{study.name} is being driven: left alone.", quiet)
                continue
            for path in _unneeded(store, study, study_folder(storage, study.name)):
                freed += path.stat().st_size
                removed.append(path)
                if not dry_run:
                    path.unlink()
    if as_json:
        print_json({"removed": removed, "bytes": freed, "dry_run": dry_run})
    else:
        verb = "would be removed" if dry_run else "removed"
        print_text(f"{len(removed)} files ({freed / 1e6:.1f} MB) {verb} under {runs_folder(storage)}.")


def doctor(no_probe: NoProbe = False, as_json: options.Json = False) -> None:
    """Say what this machine can do: cores, runtimes, precisions with fast kernels, accelerators."""
    from automl.targets import runtime_obstacles
    from automl.targets.formats import cpu_formats

    obstacles = runtime_obstacles()
    facts, formats = _facts(obstacles), [form for name in obstacles for form in cpu_formats(name)]
    report = None if no_probe else _probe([name for name, obstacle in obstacles.items() if obstacle is None])
    if as_json:
        print_json({**facts, "formats": formats, "probe": report})
        return
    runtimes = ", ".join(f"{name} {said}" for name, said in facts["runtimes"].items())
    rows = [(key.replace("_", " "), value) for key, value in {**facts, "runtimes": runtimes}.items()]
    print_table("", ("what", "here"), rows)
    _print_formats(formats)
    if report is not None:
        _print_probe(report)


def _unneeded(store: Store, study: StudyRecord, folder: Path) -> list[Path]:
    """Return the files that nothing on the front, no finalist, no teacher and no trial under way refers to."""
    from automl.outcome import Measured
    from automl.search.front import study_front

    trials = store.trials(study.id)
    front = study_front(trials, study.objectives)
    paths = {trial.outcome.artefact.path for trial in front if isinstance(trial.outcome, Measured)}
    paths |= {finalist.outcome.artefact.path for finalist in store.finalists(study.id)}
    teacher = store.teacher(study.id)
    paths |= set() if teacher is None else {teacher.path}
    open_numbers = {trial.number for trial in trials if trial.outcome is None}
    checkpoints = [one.result.checkpoint for one in store.rungs(study.id) if one.trial in open_numbers]
    paths |= {checkpoint.path for checkpoint in checkpoints if checkpoint is not None}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    relative = [path.relative_to(folder) for path in files]
    return [
        path
        for path, name in zip(files, relative, strict=True)
        if is_network(name) and name.parts[0] not in KEPT_KINDS and name.as_posix() not in paths
    ]


def is_network(name: PurePath) -> bool:
    """Tell whether a file of a run folder is a network: deployed, or the weights at a rung."""
    return ".onnx" in name.suffixes or name.parts[0] == "checkpoints"


def _facts(obstacles: Mapping[str, str | None]) -> dict[str, Any]:
    from importlib import metadata

    from automl.targets import cuda_obstacle
    from automl.targets.fingerprint import describe_cpu
    from automl.targets.lanes import core_plan

    device, plan = describe_cpu(), core_plan()
    obstacle = cuda_obstacle()
    packages = ("torch", "onnx", "ray", "optuna")
    return {
        "processor": device.model,
        "cores": device.cores,
        "timing_core": plan.lane,
        "training_cores": ", ".join(map(str, plan.training)),
        "instructions": " ".join(device.isa),
        "runtimes": {name: metadata.version(name) if why is None else f"no: {why}" for name, why in obstacles.items()},
        "packages": ", ".join(f"{name} {metadata.version(name)}" for name in packages),
        "GPU": "seen by torch; this release times on the CPU only" if obstacle is None else f"no: {obstacle}",
        "TPU": "not supported",
        "fingerprint": device.fingerprint(),
    }


def _probe(runtimes: Sequence[str]) -> ProbeReport:
    from automl.targets.probe import probe_cpu

    with tempfile.TemporaryDirectory() as folder:
        return probe_cpu(Path(folder), runtimes=runtimes)


def _print_formats(formats: Sequence[Format]) -> None:
    """Print each format that a runtime executes, and those that it refuses by their reason."""
    pairs: dict[tuple[str, str, str, str], list[str]] = {}
    for form in formats:
        key = (form.runtime, "yes" if form.executable else "no", form.benefit, form.reason)
        pairs.setdefault(key, []).append(f"w{form.weight_bits}a{form.activation_bits}")
    print_text("\nPrecisions of each runtime here, bits of weights and activations:")
    rows = [(runtime, " ".join(bits), runs, gain, why) for (runtime, runs, gain, why), bits in pairs.items()]
    print_table("", ("runtime", "bits", "runs", "gain", "because"), rows)


def _print_probe(report: ProbeReport) -> None:
    baseline = ("onnxruntime", 32, 32)
    rows = [
        (
            one.runtime,
            f"{one.kernel.operation}, {one.kernel.channels} channels",
            f"w{one.kernel.weight_bits}a{one.kernel.activation_bits}",
            f"{one.latency_ms:.4f}",
            f"×{one.to_fp32.value:.2f}",
            "faster" if one.to_fp32.high < 1 else "slower" if one.to_fp32.low > 1 else "as fast",
            f"×{one.size_bytes / one.fp32_size_bytes:.2f}",
        )
        for one in report.timings
        if (one.runtime, one.kernel.weight_bits, one.kernel.activation_bits) != baseline
    ]
    print_text("\nSmall kernels here, against the same kernel in floating point in ONNX Runtime:")
    print_table("", ("runtime", "kernel", "bits", "ms", "time", "verdict", "bytes"), rows)
    said = "int8 sums saturate here: weights keep to 7 bits." if report.saturates else "int8 sums are exact here."
    print_text(said)


def dashboard(storage: options.Storage = None, port: Port = 8765, quiet: options.Quiet = False) -> None:
    """Serve our Pareto page and optuna-dashboard on this machine only, also while a study runs; Ctrl-C ends it."""
    from dashboard.wiring import serve

    with connect_existing(storage) as store:
        url = store.url

    def say(address: str) -> None:
        remark(f"The front is at {address}, optuna-dashboard at {address}dashboard. Ctrl-C ends both.", quiet)

    serve(url, port=port, on_ready=say)
