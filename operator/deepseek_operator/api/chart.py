"""The generated files of the chart: values with comments, their schema, and the rules of its roles."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from deepseek_operator.api import chart_values
from deepseek_operator.api.permissions import ROLES, Grant

CHART = Path("charts/deepseek-operator")


def files(notice: str) -> Iterator[tuple[Path, str]]:
    """Path in the repository and text of each."""
    yield CHART / "values.yaml", notice + "".join(_values(chart_values.ChartValues(), 0))
    yield CHART / "values.schema.json", json.dumps(chart_values.schema(), indent=2, ensure_ascii=False) + "\n"
    yield CHART / "templates/_rules.tpl", _rules_template(notice)


def _values(group: BaseModel, depth: int) -> Iterator[str]:
    """Every value with its description as a comment, groups indented."""
    indent = "  " * depth
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        key = field.alias or name
        if depth == 0:
            yield "\n"
        yield f"{indent}# {field.description}\n"
        if isinstance(value, BaseModel):
            yield f"{indent}{key}:\n"
            yield from _values(value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            yield f"{indent}{key}:\n"
            for row in value:
                shown = row.model_dump(mode="json", by_alias=True, exclude_defaults=True)
                yield f"{indent}  - {json.dumps(shown, ensure_ascii=False)}\n"
        else:
            yield f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}\n"


def _rules_template(notice: str) -> str:
    head = notice.removeprefix("# ").rstrip()
    parts = [f"{{{{- /* {head} */ -}}}}\n"]
    for name, grants in ROLES.items():
        parts.append(f'{{{{- define "rules.{name}" -}}}}\n{_rules(grants)}{{{{- end }}}}\n')
    return "\n".join(parts)


def _rules(grants: Sequence[Grant]) -> str:
    lines = []
    for grant in grants:
        lines.append(f"# {grant.reason}")
        first = True
        for key, value in grant.to_rule().items():
            lines.append(f"{'-' if first else ' '} {key}: {_flow(value)}")
            first = False
    return "\n".join(lines) + "\n"


def _flow(values: Sequence[Any]) -> str:
    return "[" + ", ".join(str(value) or '""' for value in values) + "]"
