"""Checking a model's manifest, beside `sha256sum` of the same files with as many processes as there are cores."""

import os
import shutil
import subprocess
from pathlib import Path

from deepseek_runtime.weights import manifest

from benchmarks.report import Measurement, at_least
from benchmarks.runtime.rounds import in_turns, middle, ratios

FILES, BYTES = 8, 128 << 20
_TARGET = 0.8


def run(scratch: Path) -> list[Measurement]:
    """Both from the page cache, which is warm: what is compared is the hashing."""
    directory = scratch / "files"
    directory.mkdir()
    block = os.urandom(min(BYTES, 1 << 20))
    for number in range(FILES):
        with (directory / f"model-{number}.safetensors").open("wb") as file:
            for _ in range(BYTES // len(block)):
                file.write(block)
    digest = manifest.write(directory).digest
    cores = len(os.sched_getaffinity(0))
    names = sorted(path.name for path in directory.glob("*.safetensors"))

    def sums() -> None:
        command = ["xargs", "-P", str(cores), "-n", "1", "sha256sum"]
        subprocess.run(command, cwd=directory, input="\n".join(names), text=True, check=True, stdout=subprocess.DEVNULL)

    taken = in_turns({"verify": lambda: manifest.verify(directory, digest), "sha256sum": sums})
    shutil.rmtree(directory)
    size = FILES * BYTES / 1e9
    speed, spread = middle([size / seconds for seconds in taken["verify"]], "GB/s")
    ratio, extremes = middle(ratios(taken["sha256sum"], taken["verify"]))
    return [
        Measurement("verify a manifest", speed, "GB/s", spread),
        Measurement("verify a manifest, against sha256sum on as many cores", ratio, "x", extremes, at_least(_TARGET)),
    ]
