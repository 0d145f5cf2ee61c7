"""What the container may use, as its control group (version 2) says."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available(cgroup: Path = CGROUP) -> int:
    """CPUs that this process can keep busy: its affinity, within the quota of its control group; at least 1."""
    affinity = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return affinity
    return affinity if quota == "max" else max(1, min(affinity, int(quota) // int(period)))


def oom_kills(cgroup: Path = CGROUP) -> int:
    """How many processes of this control group the kernel has killed for want of memory; 0 where it does not say."""
    try:
        lines = (cgroup / "memory.events").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
