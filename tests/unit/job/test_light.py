"""What starts in every pod, and the Jobs that compute nothing, are there without the seconds that torch takes."""

import subprocess
import sys
from pathlib import Path

import pytest
from deepseek_runtime.job import run

HEAVY = ("sympy", "torch", "transformers")
STARTS = (
    "deepseek_runtime.__main__",
    "deepseek_runtime.chat.sandbox",
    "deepseek_runtime.gateway.__main__",
    "deepseek_runtime.nodecache.keeper",
    "deepseek_runtime.train.supervisor",
)
LIGHT_WORKS = ("fetch", "dataset", "import", "publish", "export", "train", "sign", "verify")
STORE = "deepseek_runtime.fetch.object_store"


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ((*STARTS, *(run.WORKS[kind] for kind in LIGHT_WORKS), STORE), (*HEAVY, "numpy")),
        (("deepseek_runtime.serve.server",), HEAVY),  # it sends its ranks arrays
        ((run.WORKS["fetch"],), ("obstore",)),
    ],
    ids=["starts", "server", "stores"],
)
def test_it_is_imported_only_where_it_is_used(modules: tuple[str, ...], absent: tuple[str, ...]) -> None:
    # None makes an import fail there: the traceback names who asked for it
    program = f"import sys; sys.modules |= dict.fromkeys({list(absent)}); import {', '.join(modules)}"
    runtime = Path(run.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(runtime)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
