"""What the container may use, as its control groups say: the one of version 2, or those of version 1 by controller."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available(cgroup: Path = CGROUP) -> int:
    """CPUs that this process can keep busy: its affinity, within the quota of its control group; at least 1."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, quota))


def _quota(cgroup: Path) -> int | None:
    """Whole CPUs of time in each period; None where there is no limit (`max`, on version 1 -1)."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) // int(period) if int(quota) > 0 else None
    except (OSError, ValueError):
        return None


def oom_kills(cgroup: Path = CGROUP) -> int:
    """How many processes of this control group the kernel has killed for want of memory; 0 where it does not say."""
    for file in (cgroup / "memory.events", cgroup / "memory" / "memory.oom_control"):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    return 0
