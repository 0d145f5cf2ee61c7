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
        "deepseek_runtime.models.imported",
    ],
)
def test_no_torch(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
