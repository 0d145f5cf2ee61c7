"""What starts in every pod, and the Jobs that compute nothing, are there without the seconds that torch takes."""

import subprocess
import sys
from pathlib import Path

from deepseek_runtime.job import run

HEAVY = ("sympy", "torch", "transformers")
STARTS = (
    "deepseek_runtime.__main__",
    "deepseek_runtime.chat.sandbox",
    "deepseek_runtime.gateway.__main__",
    "deepseek_runtime.nodecache.keeper",
    "deepseek_runtime.serve.server",
    "deepseek_runtime.train.supervisor",
)
LIGHT_WORKS = ("fetch", "dataset", "import", "publish", "export", "train", "sign", "verify")


def test_torch_is_imported_only_where_something_is_computed() -> None:
    modules = (*STARTS, *(run.WORKS[kind] for kind in LIGHT_WORKS))
    # None makes an import fail there: the traceback names who asked for it
    program = f"import sys; sys.modules |= dict.fromkeys({HEAVY}); import {', '.join(modules)}"
    runtime = Path(run.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(runtime)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
