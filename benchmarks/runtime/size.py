"""What int8 takes on the volume, of a mixture-of-experts model, every file counted."""

from pathlib import Path

from deepseek_runtime.weights import manifest

from benchmarks.report import Measurement, at_most
from benchmarks.runtime.models import model

_AGAINST = (("fp32", ("int8 weight-only", "int8 dynamic"), 0.27), ("bf16", ("int8 weight-only of bf16",), 0.53))


def run(scratch: Path) -> list[Measurement]:
    """Each variant against the base that it was made of."""
    found = []
    for base, variants, bound in _AGAINST:
        whole = manifest.read(model(scratch, base)).size
        found.append(Measurement(f"size, {base}", whole / 1e6, "MB"))
        for variant in variants:
            share = manifest.read(model(scratch, variant)).size / whole
            found.append(Measurement(f"size, {variant} against {base}", share, "x", "", at_most(bound)))
    return found
