from pathlib import Path

import pytest

from tests.unit.quantize import trained


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained mixture-of-experts model; beside it `text.txt`, which it learned, and `heldout.txt`, lines of it."""
    return trained.train(tmp_path_factory.mktemp("learned"))
