"""A Ray cluster of several nodes on this machine.

with ray_nodes.cluster() as cluster:              # a head that computes nothing
    node = cluster.add_node(num_cpus=1)
    run("python", "-m", "ops.predict", ..., RAY_ADDRESS=cluster.address)
    ray_nodes.lose(cluster, node)                 # and all that runs on it, as in a power cut
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ray._private.node import Node
from ray.cluster_utils import Cluster

SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}  # else 15 s
# A task with a runtime environment uses no worker that was started before it came.
LATE = {"enable_worker_prestart": False, "prestart_worker_first_driver": False}


@contextmanager
def cluster() -> Iterator[Cluster]:
    needless = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    head = {"num_cpus": 0, "_system_config": SOON | LATE, **needless}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


def lose(cluster: Cluster, node: Node) -> None:
    """Kill a node. One that ends by itself leaves the cluster, so Ray counts no lost task."""
    cluster.remove_node(node, allow_graceful=False)
