"""A Ray cluster of several nodes on loopback, in a process of its own that is told on standard input what to do.

`head N PORT` (0 takes a free one), `node N {resources}`, `kill node I` (from 0, kill -9), `end`; each is answered by
a line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

MEMORY = 80 * 1024**2


def main() -> None:
    """Obey until the end of input."""
    (Path(os.environ["RAY_TMPDIR"]) / "ray").mkdir(exist_ok=True)
    from ray.cluster_utils import Cluster

    settings = {"object_store_memory": MEMORY, "include_dashboard": False, "include_log_monitor": False}
    cluster, nodes = Cluster(initialize_head=False), []
    for line in sys.stdin:
        match line.split(maxsplit=2):
            case ["head", cpus, port]:
                cluster.add_node(num_cpus=int(cpus), gcs_server_port=int(port), **settings)
            case ["node", cpus, resources]:
                nodes.append(cluster.add_node(num_cpus=int(cpus), resources=json.loads(resources), **settings))
            case ["kill", "node", index]:
                nodes[int(index)].kill_raylet(check_alive=False)
            case ["end"]:
                break
        print(cluster.address, flush=True)


if __name__ == "__main__":
    main()
