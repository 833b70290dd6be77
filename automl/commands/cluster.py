"""The command about Ray clusters: how one is started, and whether one that runs can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl.commands import options
from automl.commands.exits import FAILED
from automl.commands.output import print_json, print_table, print_text, remark

if TYPE_CHECKING:
    from automl.search.ray_check import ClusterReport, NodeReport

GUIDE = """\
A study runs on this machine without any of this. To use several machines:

1. Install the same automl, Python and packages on every node (one container image, or one lock file). Workers import
   what is installed on their node: no code is sent.
2. Make one token, and copy it to the same place on every node (readable by its user only):
     ray get-auth-token --generate            # writes ~/.ray/auth_token
3. On every node, before any `ray start`:
     export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
   Without a token, whoever reaches Ray's ports can run code there: keep them inside a private network all the same.
4. On the head:
     ray start --head --port 6379 --include-dashboard false
   On every other machine:
     ray start --address HEAD:6379
   On the device that is to be timed, with a resource of its own, and no CPUs for training:
     ray start --address HEAD:6379 --num-cpus 0 --resources '{"lane": 1}'
5. Check it from a machine of the cluster, then search there:
     automl cluster --ray-address HEAD:6379 --lane lane --runs runs
     automl search STUDY --ray-address HEAD:6379 --storage postgresql+psycopg://USER@HOST/DB
   and in the study: search: {ray: {lane: lane, cpus: 1, gpus: 0.25}}

Data: the search's machine reads it; it travels to each node once, through Ray's object store, and so do the teacher's
answers. Files (networks, checkpoints, teachers) go through the run folder where all nodes share it; workers that do
not see it are sent what they need and send back what they made.
On Kubernetes: KubeRay, a RayCluster with the image of step 1 and `authOptions: {mode: token}` (a manifest is in
docs/cluster.md); run the search as a pod of it, with --ray-address auto.
"""

Address = Annotated[
    str | None, typer.Option("--ray-address", help="Check the cluster that runs there: auto, or HOST:PORT.")
]
Lane = Annotated[str | None, typer.Option("--lane", help="The custom resource of the node whose device is timed.")]
Runs = Annotated[Path | None, typer.Option("--runs", help="A run folder: is it the same one on every node?")]


def cluster(address: Address = None, lane: Lane = None, runs: Runs = None, as_json: options.Json = False) -> None:
    """Say how a Ray cluster is started; with an address, check the one that runs there, node by node."""
    if address is None:
        print_json({"guide": GUIDE}) if as_json else print_text(GUIDE)
        return
    from automl.search.ray_check import check_cluster

    report = check_cluster(address, lane, runs)
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    for text in (*report.remarks, *report.faults):
        remark(text)
    if report.faults:
        raise typer.Exit(FAILED)


def _print_report(report: ClusterReport) -> None:
    columns = ("node", "CPUs", "GPUs", "object store", "resources", "token", "usage reports", "run folder", "versions")
    print_table(f"Ray cluster at {report.address}", columns, [_row(node) for node in report.nodes])
    print_text("\nIt can be used." if not report.faults else f"\n{len(report.faults)} things keep it from being used:")


def _row(node: NodeReport) -> tuple[str, ...]:
    sizes = (node.host, f"{node.cpus:g}", f"{node.gpus:g}", f"{node.object_store_bytes / 1e6:.0f} MB")
    resources = ", ".join(node.resources) if node.resources else "–"
    look = node.look
    if isinstance(look, str):
        return (*sizes, resources, "?", "?", "?", look)
    versions = ", ".join(f"{name} {look.versions[name]}" for name in ("python", "ray", "torch", "onnxruntime"))
    seen = {None: "–", True: "shared", False: "its own"}[look.sees_runs]
    token, usage = "on" if look.asks_for_token else "OFF", "ON" if look.reports_usage else "off"
    return (*sizes, resources, token, usage, seen, versions)
