"""Ours: recipes by the latency of their untrained files; of those trained a little the best is trained on its own."""

from __future__ import annotations

import numpy as np

from automl.candidate import Candidate
from automl.evaluation.files import control_for, keep_file, nominal_file
from automl.evaluation.scoring import score_file
from automl.evaluation.weights import deployed_file
from automl.targets import Contestant
from compressed.bench import SEARCHED, Bench, Row, computes_in_bf16, note, ratio_to, train_for, widths_of

ROUND_SHARE = 0.06  # of our seconds: for each recipe that is tried before the chosen one is trained
MARGIN = 0.02  # of accuracy among the tried: so early it says little, and what is faster has more steps to come


def ours(bench: Bench, plain: Row) -> Row:
    """Time untrained files of many recipes, train the fastest of each width a little, then the best on its own.

    The tried go from mild to bold until one falls behind.

    The seconds of every training count, those of recipes that were given up as well.
    """
    split, spent, tried = bench.context.dataset.validation, 0.0, []
    validation = split.take(np.arange(min(2000, len(split))))
    for candidate in promising(bench):
        trained = train_for(bench, candidate, ROUND_SHARE * bench.seconds)
        spent += trained.seconds
        content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
        artefact = keep_file(content, bench.context.runs)
        path = bench.context.runs / artefact.path
        accuracy = score_file(path, artefact.sha256, validation, bench.context, runtime=candidate.runtime)[0].value
        row = Row("tried", str(path), artefact.sha256, candidate.runtime, accuracy, 0.0, artefact.size_bytes, 0.0, "")
        note(f"{bench.name}: tried {describe(candidate)}: {100 * accuracy:.2f} % on validation")
        tried.append((accuracy, ratio_to(bench, row, plain)[0], candidate))
        floor = max(accuracy for accuracy, _, _ in tried) - MARGIN
        if accuracy < floor:
            break  # bolder ones would fall further
    _, _, candidate = min((one for one in tried if one[0] >= floor), key=lambda one: one[1])
    trained = train_for(bench, candidate, bench.seconds - spent)
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    what = f"{describe(candidate)}; of {len(tried)} tried"
    return bench.finished("ours, searched", content, candidate, spent + trained.seconds, what)


def promising(bench: Bench) -> list[Candidate]:
    """Return the recipes whose untrained files are fastest, one for each share of the widths, the mildest first."""
    found = []
    for ratio in SEARCHED:
        timed = []
        for more in precisions(bench):
            candidate = bench.candidate(**{"prune_*": ratio, "schedule": "at_start", **more})
            artefact = keep_file(nominal_file(candidate, bench.context), bench.context.runs, "nominal")
            path = bench.context.runs / artefact.path
            subject = Contestant(path, artefact.sha256, artefact.sha256[:16], candidate.runtime)
            control = control_for(bench.candidate(), bench.context)
            timing = bench.context.target.compare(subject, control, None, "untrained")
            timed.append((timing.control_ratio.value, candidate))
        found.append(min(timed, key=lambda one: one[0])[1])
    return found


def precisions(bench: Bench) -> list[dict[str, str]]:
    """Return every (runtime, precision) pair that there is here."""
    runtimes = bench.joined.spec.target.runtimes
    pairs = [(runtime, bits) for runtime in runtimes for bits in ("w8a8", "w32a32")]
    pairs += [("openvino", "w16a16")] if computes_in_bf16() else []
    return [{"bits_*": bits, **({"runtime": runtime} if len(runtimes) > 1 else {})} for runtime, bits in pairs]


def describe(candidate: Candidate) -> str:
    bits = "/".join(f"w{w}a{a}" for w, a in dict.fromkeys(candidate.quantization.pairs()))
    return f"{widths_of(candidate)} {bits} {candidate.quantization.training} {candidate.runtime}"
