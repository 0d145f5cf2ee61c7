"""The reference pages in `docs/reference`, from the schemas of the CRDs and the table of permissions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepseek_operator.api.crd import RESOURCES, Resource, schema
from deepseek_operator.api.names import GROUP, VERSION
from deepseek_operator.api.permissions import ROLES

DOCS = Path("docs/reference")
Schema = dict[str, Any]

_FORMS = {
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "lower-case letters, digits and `-`",
    r"^[^/\x00][^\x00]*$": "relative",
}
_ROLE_TITLES = {
    "operator.tenants": "The operator, in all namespaces or in those of `watchNamespaces`",
    "operator.namespace": "The operator, in its own namespace",
    "operator.uninstall": "The Job that runs after `helm uninstall`",
    "gateway.tenants": "The gateway, in all namespaces or in those of `watchNamespaces`",
    "gateway.cluster": "The gateway, for what has no namespace",
    "gateway.namespace": "The gateway, in its own namespace",
    "user.view": "People: joined to `view`, `edit` and `admin`",
    "user.edit": "People: joined to `edit` and `admin`",
    "user.infer": "People: joined to `admin`, and for RoleBindings of its own",
}


def files(notice: str) -> Iterator[tuple[Path, str]]:
    """Path in the repository and text of each page."""
    head = f"<!-- {notice.removeprefix('# ').rstrip()} -->\n"
    yield DOCS / "README.md", head + _index()
    yield DOCS / "permissions.md", head + _permissions()
    for resource in RESOURCES:
        yield DOCS / f"{resource.kind.lower()}.md", head + "\n".join(_page(resource)) + "\n"


def _index() -> str:
    rows = "".join(
        f"| [{resource.kind}]({resource.kind.lower()}.md) | `{resource.short_name}` | {resource.description} |\n"
        for resource in RESOURCES
    )
    return f"""# Reference

The resources of the API group `{GROUP}`, version `{VERSION}`. `kubectl explain` says the same on a cluster;
`kubectl get deepseek` shows all three.

| resource | short name | what it is |
|---|---|---|
{rows}
[permissions.md](permissions.md): what the operator, the gateway and people may do, and why.
[values.yaml](../../charts/deepseek-operator/values.yaml): the chart's values.
"""


def _permissions() -> str:
    parts = [
        "# Permissions\n\nNobody here has a verb on a tenant's Secrets, and nobody writes a spec that a person wrote.\n"
    ]
    for name, title in _ROLE_TITLES.items():
        parts.append(f"## {title}\n\n| resources | verbs | for |\n|---|---|---|\n")
        for grant in ROLES[name]:
            names = f" named {', '.join(grant.names)}" if grant.names else ""
            group = f" of {grant.group}" if grant.group else ""
            resources = f"{', '.join(grant.resources)}{group}{names}"
            parts.append(f"| {resources} | {', '.join(grant.verbs)} | {grant.reason} |\n")
        parts.append("\n")
    return "\n".join(("".join(parts[:1]), "".join(parts[1:]).rstrip() + "\n"))


def _page(resource: Resource) -> Iterator[str]:
    whole = schema(resource)
    yield f"# {resource.kind}\n"
    yield f"{resource.description}\n"
    yield f"`apiVersion: {GROUP}/{VERSION}`, `kind: {resource.kind}`, short name `{resource.short_name}`.\n"
    yield from _rules(whole)
    if resource.scale:
        yield f"`kubectl scale {resource.short_name} NAME --replicas=N` and autoscalers set `{resource.scale[0][1:]}`.\n"
    if resource.selectable:
        paths = ", ".join(f"`{path[1:]}`" for path in resource.selectable)
        yield f"Field selectors besides name and namespace: {paths}.\n"
    for name in ("spec", "status"):
        yield from _object(name, whole["properties"][name])


def _object(path: str, node: Schema) -> Iterator[str]:
    """The section of one object, then those of the objects in it."""
    yield f"## {path}\n"
    yield f"{node['description']}\n"
    yield from _rules(node)
    yield "| field | type | default | limits | description |\n|---|---|---|---|---|"
    required = set(node.get("required", ()))
    nested = []
    for name, child in node["properties"].items():
        inner, place = _inner(f"{path}.{name}", child)
        if inner is not None:
            nested.append((place, inner))
        default = _default(name in required, child)
        cells = (f"`{name}`", _type(child, place), default, _limits(child), child.get("description", ""))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for place, inner in nested:
        yield from _object(place, inner)


def _inner(path: str, node: Schema) -> tuple[Schema | None, str]:
    """The object with fields of its own that a field holds, be it in a list, and its path."""
    if "properties" in node:
        return node, path
    if "items" in node:
        return _inner(f"{path}[]", node["items"])
    return None, path


def _type(node: Schema, path: str) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "properties" in node:
        return f"[object](#{''.join(c for c in path.lower() if c.isalnum() or c in '-_')})"
    if "items" in node:
        return f"list of {_type(node['items'], path)}"
    if "additionalProperties" in node:
        return f"map to {_type(node['additionalProperties'], path)}"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    return str(node["type"])


def _default(required: bool, node: Schema) -> str:
    if required:
        return "**required**"
    return f"`{json.dumps(node['default'])}`" if "default" in node else ""


def _limits(node: Schema) -> str:
    inner = node.get("items") or node.get("additionalProperties") or {}
    return "; ".join([*_bounds(node), *(f"each {bound}" for bound in _bounds(inner))])


def _bounds(node: Schema) -> Iterator[str]:
    if node.get("x-kubernetes-int-or-string"):
        return
    above = "more than " if node.get("exclusiveMinimum") else "at least "
    below = "less than " if node.get("exclusiveMaximum") else "at most "
    yield from _range(node.get("minimum"), node.get("maximum"), "", above, below)
    yield from _range(node.get("minItems"), node.get("maxItems"), " entries")
    yield from _range(node.get("minProperties"), node.get("maxProperties"), " entries")
    yield from _range(node.get("minLength"), node.get("maxLength"), " characters")
    if "pattern" in node:
        yield _FORMS.get(node["pattern"], f"of the form `{node['pattern']}`")


def _range(
    low: float | None, high: float | None, unit: str, above: str = "at least ", below: str = "at most "
) -> Iterator[str]:
    if low is not None and high is not None and above == "at least " and below == "at most ":
        yield f"{low} to {high}{unit}"
        return
    if low is not None:
        yield f"{above}{low}{unit}"
    if high is not None:
        yield f"{below}{high}{unit}"


def _rules(node: Schema) -> Iterator[str]:
    if validations := node.get("x-kubernetes-validations"):
        yield "".join(f"- {rule['message']}\n" for rule in validations)
