"""The best searched cell: the most accurate point of a short search over cells alone."""

from __future__ import annotations

import argparse
import json
from typing import Any

from automl.candidate import candidate_from_json, candidate_to_json
from automl.commands.joining import join
from automl.outcome import Measured
from automl.search.study_run import run_study
from automl.space import Point
from automl.storage import open_store
from automl.study_spec import parse_study_spec
from search_spaces.joint import enqueued_points


def searched_cell(options: argparse.Namespace) -> Point | None:
    """Return the point of the knee of a short search over cells; None in the quick form, which leaves cells out."""
    name = "searched cell"
    joined = join(parse_study_spec(cell_document(options), "benchmarks/compression.py"))
    folder = options.folder / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    with open_store(f"sqlite:///{folder}/cells.db") as store:
        queue = enqueued_points(joined.space, joined.spec.search.enqueue)
        summary = run_study(
            joined.spec, joined.space, joined.target, store, folder / name, lambda _: None, enqueue=queue
        )
        best = max(
            summary.front,
            key=lambda trial: trial.outcome.value("accuracy") if isinstance(trial.outcome, Measured) else 0,
        )
    kept = folder / "cell.json"
    if not kept.exists():
        kept.write_text(json.dumps({"point": best.point, "candidate": candidate_to_json(best.candidate)}))
    assert candidate_from_json(json.loads(kept.read_text())["candidate"]) is not None
    return dict(json.loads(kept.read_text())["point"])


def cell_document(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": "cells",
        "data": {
            "source": "npz", "path": str(options.data), "validation": 0.1, "train_limit": 4000,
            "validation_limit": 2000, "augmentation": "shift_flip",
        },
        "space": {"widths": [32], "cells": [3], "fix": {"prune_*": 0.0, "bits_*": "w32a32"}},
        "training": {"epochs": 2, "learning_rate": 3e-3},
        "distillation": {"alphas": [1.0]},
        "objectives": ["accuracy", "latency_ms"],
        "teacher": {"source": "none"},
        "budget": {"seconds": options.cell_seconds},
        "search": {"population": 6, "enqueue": ["residual", "darts_v2"]},
        "finalists": {"count": 1, "epochs": 1, "share": 0.02},
    }  # fmt: skip
