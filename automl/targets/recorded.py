"""The recorded target: latencies measured elsewhere, in a JSON file; for devices far away and for exact replays."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.errors import Fault, InputError, TargetError, input_error
from automl.outcome import Kind, Ratio, Timing
from automl.targets.formats import cpu_formats
from automl.targets.session import open_runner
from automl.targets.target import ONNX_RUNTIME, Contestant, Control, Format, Runner, runtime_of_control

FORMAT = 1
PROTOCOL = "recorded-1"


@dataclass(frozen=True)
class RecordedTarget:
    """A table of latencies by shape key, in the runtimes of its controls; files are scored on this machine's CPU."""

    name: str
    fingerprint: str
    channel_multiple: int
    controls: Mapping[str, float]
    latency_ms: Mapping[str, float]
    kind: Kind = "recorded"

    def runtimes(self) -> tuple[str, ...]:
        """Return the runtimes that the device has controls of."""
        found = {runtime_of_control(kind) for kind in self.controls}
        return tuple(sorted(found, key=lambda name: (name != ONNX_RUNTIME, name)))

    def formats(self) -> tuple[Format, ...]:
        """Return the pairs of the CPU target in the same runtimes, whose files are recorded."""
        return tuple(form for runtime in self.runtimes() for form in cpu_formats(runtime))

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:  # noqa: ARG002 the protocol's
        """Return the recorded milliseconds of the control of this kind.

        Raises:
            TargetError: where there is none.
        """
        return self._look_up(self.controls, "controls", kind)

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Answer from the table: intervals are single points, and there are no samples.

        Raises:
            TargetError: naming the subject's shape key where the table lacks it.
        """
        latency_ms = self._look_up(self.latency_ms, "latency_ms", subject.shape_key)
        twin_ms = None if twin is None else self.latency_ms.get(twin.shape_key)
        return Timing(
            moment=moment,
            kind=self.kind,
            protocol=PROTOCOL,
            device=self.fingerprint,
            artefact=subject.sha256,
            control=control.kind,
            control_reference_ms=control.reference_ms,
            control_ratio=_exactly(latency_ms / control.reference_ms),
            twin_ratio=None if twin_ms is None else _exactly(latency_ms / twin_ms),
            aa_ratio=None,
        )

    def load(self, path: Path, runtime: str = ONNX_RUNTIME) -> Runner:
        """Return a function that runs the file, plain or packed, on raw samples, on this machine's CPU."""
        return open_runner(path, runtime)

    def _look_up(self, table: Mapping[str, float], where: str, key: str) -> float:
        if key not in table:
            raise TargetError(f"{self.name}: {where} has no entry for {key!r}. Record it on the device and add it.")
        return table[key]


def _exactly(value: float) -> Ratio:
    return Ratio(value, value, value)


def write_recording(
    path: Path,
    *,
    fingerprint: str,
    channel_multiple: int,
    controls: Mapping[str, float],
    latency_ms: Mapping[str, float],
) -> None:
    """Write latencies in milliseconds, by kind of control and by shape key, as `open_recording` reads them."""
    document = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "channel_multiple": channel_multiple,
        "controls": dict(controls),
        "latency_ms": dict(latency_ms),
    }
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def open_recording(path: Path, *, channel_multiple: int) -> RecordedTarget:
    """Return the target of a recording.

    Raises:
        InputError: where the file is missing, is no such document (every fault at once), or was recorded for
            another channel multiple.
    """
    document = _read_document(path)
    faults = [*_faults(path, document)]
    if not faults and document["channel_multiple"] != channel_multiple:
        faults.append(Fault("target.channel_multiple", f"{document['channel_multiple']}, as {path} was recorded for",
                            str(channel_multiple)))  # fmt: skip
    if faults:
        raise InputError(faults)
    return RecordedTarget(
        name=f"recorded:{path}",
        fingerprint=document["fingerprint"],
        channel_multiple=document["channel_multiple"],
        controls=document["controls"],
        latency_ms=document["latency_ms"],
    )


def _read_document(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise input_error("target.name", "recorded:FILE with a readable file", f"{path} ({error.strerror})") from error
    except ValueError as error:
        raise input_error(str(path), "a JSON document", str(error)) from error


def _faults(path: Path, document: Any) -> list[Fault]:
    if not isinstance(document, dict):
        return [Fault(str(path), "a JSON object", type(document).__name__)]
    checks: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "format": (f"{FORMAT}, the version that this release reads", lambda value: value == FORMAT),
        "fingerprint": ("a text", lambda value: isinstance(value, str)),
        "channel_multiple": (
            "a whole number of at least 1",
            lambda value: _is_number(value) and isinstance(value, int) and value >= 1,
        ),
        "controls": ("a table of kinds to positive milliseconds", _is_table),
        "latency_ms": ("a table of shape keys to positive milliseconds", _is_table),
    }
    faults = [
        Fault(f"{path}: {key}", expected, repr(document.get(key, "nothing"))[:80])
        for key, (expected, holds) in checks.items()
        if not holds(document.get(key))
    ]
    return faults + [Fault(f"{path}: {key}", "absent", "an unknown key") for key in document if key not in checks]


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_number(entry) and math.isfinite(entry) and entry > 0 for entry in value.values()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
