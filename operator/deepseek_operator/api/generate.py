"""Writes every file that is made from the models: CRDs, reference pages, and the chart's values, schema and rules.

`python -m deepseek_operator.api.generate` writes them, `--check` fails where one differs from what would be written.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deepseek_operator.api import chart, reference
from deepseek_operator.api.crd import RESOURCES, crd
from deepseek_operator.api.names import GROUP

COMMAND = "python -m deepseek_operator.api.generate"
NOTICE = f"# Generated from operator/deepseek_operator/api by `{COMMAND}`.\n"


class _Dumper(yaml.SafeDumper):
    """Writes equal objects out in full: anchors are legal YAML that nobody likes to read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def to_yaml(value: Any) -> str:
    """YAML in the order of the mapping."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file: its path in the repository and its text."""
    for resource in RESOURCES:
        name = f"{GROUP}_{resource.plural}.yaml"
        text = NOTICE + to_yaml(crd(resource))
        yield Path("crds") / name, text
        yield chart.CHART / "files/crds" / name, text
    yield from chart.files(NOTICE)
    yield from reference.files(NOTICE)


def main(arguments: list[str] | None = None) -> int:
    """Write the files or, with --check, name those that differ."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[3], help="the repository")
    options = parser.parse_args(arguments)
    stale = []
    for path, text in files():
        target = options.root / path
        if target.is_file() and target.read_text() == text:
            continue
        stale.append(path)
        if not options.check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    for path in stale:
        sys.stdout.write(f"{'stale: ' if options.check else 'wrote '}{path}\n")
    if options.check and stale:
        sys.stderr.write(f"run `{COMMAND}` and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
