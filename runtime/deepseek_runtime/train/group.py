"""torchrun's agent for one pod: `python -m deepseek_runtime.train.group DIRECTORY PROCESSES`.

Starts the processes, and ends them all when one fails. They meet over files of the directory, not over a port, since
torchrun's own rendezvous would listen on every interface of the pod; pods meet in `rendezvous`. No process is started
anew here: a pod in which one failed is replaced, and its successor goes on from the last checkpoint, on another node if
need be.
"""

import os
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from deepseek_runtime.train.exchange import Death, Exchange

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 3


def main() -> None:
    """Exit with 0 if every process did; else tell the exchange which one failed first."""
    directory, processes = Path(sys.argv[1]), int(sys.argv[2])
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint=str(directory / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        local_addr=LOOPBACK,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "deepseek_runtime.train.worker", str(directory))
    except ChildFailedError as error:
        # A process that was killed comes first: the others failed because it was gone.
        failures = error.failures
        first = min(failures, key=lambda rank: (failures[rank].exitcode >= 0, failures[rank].timestamp))
        Exchange(directory).bury(Death(first, failures[first].exitcode))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
