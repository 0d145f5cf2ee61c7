"""What must start fast imports no torch: a tampered model is refused, and an export copied, within a second or two."""

import subprocess
import sys
from pathlib import Path

import deepseek_runtime
import pytest

RUNTIME = Path(deepseek_runtime.__file__).parents[1]


@pytest.mark.parametrize(
    "module",
    [
        "deepseek_runtime.__main__",
        "deepseek_runtime.job.run",
        "deepseek_runtime.models.publish",
        "deepseek_runtime.nodecache.keeper",
        "deepseek_runtime.models.imported",
        "deepseek_runtime.fetch.model",
        "deepseek_runtime.fetch.dataset",
        "deepseek_runtime.fetch.object_store",
        "deepseek_runtime.signing.artifact",
        "deepseek_runtime.signing.verification",
    ],
)
def test_no_torch(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_library_of_stores_is_for_stores() -> None:
    code = "import sys, deepseek_runtime.fetch.model; print('obstore' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
