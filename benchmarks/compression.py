"""Compression that pays: three networks on Fashion-MNIST, every usual way to compress them, and the searched recipe.

Rows of one network train equally long (the search's own time included), are chosen on validation and reported on test,
and their files are timed head to head against the uncompressed one. Finished rows are kept in --folder: run the same
command again to go on.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from compressed.bench import MODELS, POINT, Bench, Row, computes_in_bf16, open_bench, openvino_formats, ratio_to
from compressed.cell import searched_cell
from compressed.peers import best_pruned, from_scratch, nncf_int8, onnxruntime_int8, openvino_bf16, uncompressed
from compressed.recipe import ours
from goals import Goal, arguments, report

from automl.targets import runtime_obstacles

SPEED_GOAL = 1.5


def rows_of(bench: Bench, quick: bool) -> tuple[list[Row], list[str]]:
    """Return the finished rows of one network, uncompressed first and ours last, and what could not run."""
    plain = bench.row("uncompressed", lambda: uncompressed(bench))
    rows, refused = [plain], []
    rows.append(bench.row("ONNX Runtime int8", lambda: onnxruntime_int8(bench, plain)))
    obstacle = runtime_obstacles().get("openvino")
    if obstacle is None:
        rows.append(bench.row("NNCF int8 on OpenVINO", lambda: nncf_int8(bench, plain)))
    else:
        refused.append(f"NNCF int8 on OpenVINO: {obstacle}")
    if computes_in_bf16():
        rows.append(bench.row("OpenVINO bf16", lambda: openvino_bf16(bench, plain)))
    else:
        forms = [form for form in openvino_formats() if (form.weight_bits, form.activation_bits) == (16, 16)]
        refused += [f"OpenVINO bf16: {form.reason}" for form in forms]
    mine = bench.row("ours searched", lambda: ours(bench, plain))
    if not quick:
        rows.append(bench.row("best pruned", lambda: best_pruned(bench, plain)))
        rows.append(bench.row("from scratch", lambda: from_scratch(bench, mine)))
    return [*rows, mine], refused


def judge(bench: Bench, rows: list[Row]) -> tuple[dict[str, Any], float, bool]:
    """Return the figures of a network, ours over its best single peer in speed, and whether ours is within a point."""
    plain, *peers, mine = rows
    speeds = {row.name: ratio_to(bench, row, plain) for row in rows[1:]}
    within = [row for row in peers if row.validation >= plain.validation - POINT]
    best = min(within, key=lambda row: speeds[row.name][0], default=plain)
    ratio = ratio_to(bench, mine, best)
    print(f"\n{bench.name}, {bench.seconds:.0f} s a row")
    print(f"{'row':28} {'test':>7} {'valid.':>7} {'latency / uncompressed':>25} {'bytes':>9} {'seconds':>8}  what")
    for row in rows:
        value, low, high = speeds.get(row.name, (1.0, 1.0, 1.0))
        interval = f"{value:.3f} ({low:.3f}-{high:.3f})"
        print(
            f"{row.name:28} {100 * row.test:7.2f} {100 * row.validation:7.2f} {interval:>25} {row.size_bytes:9d} "
            f"{row.seconds:8.0f}  {row.what}, {row.runtime}"
        )
    print(f"ours against the best single peer within a point ({best.name}): {1 / ratio[0]:.2f}x")
    figures = {
        "rows": [asdict(row) for row in rows], "latency_ratios": speeds, "best_peer": best.name,
        "ours_speedup_over_best_peer": 1 / ratio[0],
    }  # fmt: skip
    return figures, 1 / ratio[0], mine.test >= plain.test - POINT


def main() -> int:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, help="fashion_mnist.npz; scikit-learn's digits without it (--quick only)")
    parser.add_argument("--folder", type=Path, default=Path("runs/compression"), help="where finished rows are kept")
    parser.add_argument("--seconds", type=float, default=120, help="of training for each row, at most 180")
    parser.add_argument("--cell-seconds", type=float, default=240, help="of the search for the cell, once")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=MODELS, help="one of the networks; the goals are not judged then")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.folder = (
            12.0,
            options.folder / f"quick-{hashlib.sha256(str(options.data).encode()).hexdigest()[:6]}",
        )
    elif options.data is None:
        parser.error("--data must be the path of fashion_mnist.npz, but got nothing; or run with --quick")
    names = ["ResNet-18 w32"] if options.quick else list(MODELS) if options.only is None else [options.only]
    figures: dict[str, object] = {}
    speeds: dict[str, list[tuple[float, bool]]] = {}
    for seed in range(options.seeds):
        for name in names:
            cell = searched_cell(options) if name == "searched cell" else None
            bench = open_bench(name, options, seed, cell)
            rows, refused = rows_of(bench, options.quick)
            figures[f"{name} {seed}"], speed, is_within = judge(bench, rows)
            speeds.setdefault(name, []).append((speed, is_within))
            for reason in refused:
                print(f"not run: {reason}")
    goals = goals_of(speeds, options.quick or options.only is not None)
    print()
    return report(goals, figures, options.json)


def goals_of(speeds: dict[str, list[tuple[float, bool]]], quick: bool) -> list[Goal]:
    medians = {name: float(np.median([speed for speed, _ in values])) for name, values in speeds.items()}
    within = {name: all(held for _, held in values) for name, values in speeds.items()}
    fast = [name for name in medians if medians[name] >= SPEED_GOAL and within[name]]
    shown = ", ".join(
        f"{name} {speed:.2f}x{'' if within[name] else ' (lost more than a point)'}" for name, speed in medians.items()
    )
    return [
        Goal(
            "ours over the best single peer",
            "1.5x on two of three, within a point",
            shown,
            None if quick else len(fast) >= 2,
        ),
        Goal("ours is never slower", "at least 1x on all", shown, None if quick else min(medians.values()) >= 1),
        Goal("every row's file ran and was scored", "all", "all", True),
    ]


if __name__ == "__main__":
    sys.exit(main())
