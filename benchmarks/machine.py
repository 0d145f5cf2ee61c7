"""Where and with what the figures were measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("kopf", "aiohttp", "pydantic")
_RUNTIME_PACKAGES = ("torch", "transformers", "safetensors")


def confine(cores: int) -> None:
    """Let this process, and all that it starts, use this many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, and how busy they were before."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(kube: Path | None = None) -> dict[str, str]:
    """Of what takes part: with a cluster the operator's packages, without one the runtime's."""
    if kube is None:
        return {"python": platform.python_version(), **{name: version(name) for name in _RUNTIME_PACKAGES}}
    server = subprocess.run([kube, "kube-apiserver", "--version"], capture_output=True, text=True, check=True)
    packages = {name: version(name) for name in _PACKAGES}
    return {"kubernetes": server.stdout.split()[-1], "python": platform.python_version(), **packages}


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()
