"""What the cluster is and runs."""

from local import process
from local.configuration import volumes_are_limited
from local.kubectl import kubectl
from local.places import Cluster


def status(cluster: Cluster) -> int:
    """Prints it; the exit status is 1 where the cluster is not up."""
    if process.init(cluster.first) is None:
        print(f"down ({cluster.state})")
        return 1
    for node in cluster.nodes:
        number = process.init(node)
        print(f"{node.name}: {f'up as process {number}' if number else 'down'}; logs in {node.logs}")
        for log in sorted(node.logs.glob("*.log")):
            ends = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("== ")]
            if ends:
                print(f"  {log.stem}: {len(ends)} ends, last: {ends[-1].removeprefix('== ')}")
    if not volumes_are_limited(cluster.first):
        print("sizes of claims are not enforced: this machine has no loop devices")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(kubectl(cluster, "get", "nodes,pods", "--all-namespaces", "--output", "wide"), end="")
    return 0
