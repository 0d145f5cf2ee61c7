"""What the cluster is and runs."""

from local import process
from local.kubectl import kubectl
from local.places import Cluster


def status(cluster: Cluster) -> int:
    """Prints it; the exit status is 1 where the cluster is not up."""
    number = process.init(cluster)
    if number is None:
        print(f"down ({cluster.state})")
        return 1
    print(f"up as process {number}; logs in {cluster.logs}")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    for log in sorted(cluster.logs.glob("*.log")):
        ends = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("== ")]
        if ends:
            print(f"{log.stem}: {len(ends)} ends, last: {ends[-1].removeprefix('== ')}")
    print(kubectl(cluster, "get", "nodes,pods", "--all-namespaces", "--output", "wide"), end="")
    return 0
