"""A Ray cluster of several nodes on this machine.

with ray_nodes.cluster() as cluster:              # a head that computes nothing
    node = cluster.add_node(num_cpus=1)
    run("python", "-m", "ops.predict", ..., RAY_ADDRESS=cluster.address)
    cluster.remove_node(node)                     # it is lost, with all that runs on it
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.cluster_utils import Cluster


@contextmanager
def cluster() -> Iterator[Cluster]:
    head = {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()
