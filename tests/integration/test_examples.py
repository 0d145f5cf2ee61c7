"""Every resource that the examples and the README show is one that the API server takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deepseek_operator.api.names import API_VERSION

from tests.integration.api import Api

ROOT = Path(__file__).resolve().parents[2]


def shown() -> Iterator[Any]:
    pages = {f"examples/{path.name}": path.read_text() for path in sorted(ROOT.glob("examples/**/*.yaml"))}
    for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("runtime/**/README.md"))]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            pages[f"{page.relative_to(ROOT)}-{number}"] = block
    for name, text in pages.items():
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                yield pytest.param(document, id=f"{name}-{document['metadata']['name']}")


@pytest.mark.parametrize("document", list(shown()))
def test_it_is_taken_as_it_stands(document: Any, api: Api, namespace: str) -> None:
    document["metadata"]["namespace"] = namespace
    api.create(document).ok()


def test_there_are_some() -> None:
    assert len(list(shown())) >= 6
