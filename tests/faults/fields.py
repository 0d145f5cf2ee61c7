"""One field of a resource at a time: changed or emptied, as far as its type allows it (Acto's transitions, SOSP'23)."""

import copy
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from deepseek_operator.api.base import ApiModel
from deepseek_operator.controllers.decision import Object
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]

_GONE = object()
_STRINGS = ("other", "other/model", "7Gi", "20Gi", "https://other.example", "notes.txt")
_AT_MOST = 2
"""Values that one field is changed to."""


@dataclass(frozen=True)
class Mutation:
    """One field that is otherwise."""

    path: Path
    how: str
    value: Any

    def __str__(self) -> str:
        shown = "" if self.value is _GONE else f" to {self.value!r:.60}"
        return f"{'.'.join(map(str, self.path))} {self.how}{shown}"

    def of(self, spec: Object) -> Object:
        """A copy of the spec with this field otherwise."""
        spec = copy.deepcopy(spec)
        node: Any = spec
        for step in self.path[:-1]:
            node = node[step]
        if self.value is _GONE:
            del node[self.path[-1]]
        else:
            node[self.path[-1]] = copy.deepcopy(self.value)
        return spec


def mutations(model: type[ApiModel], value: Object, at: Path = ()) -> Iterator[Mutation]:
    """Of every field that the model has, in every object that the value has."""
    for info in model.model_fields.values():
        name = str(info.alias)
        path, current = (*at, name), value.get(name)
        if name in value:
            yield Mutation(path, "emptied", _GONE)
            if isinstance(current, list | dict) and current:
                yield Mutation(path, "emptied", type(current)())
        for other in _others(info, current):
            yield Mutation(path, "changed", other)
        inner = _inner(info.annotation)
        if isinstance(current, dict) and isinstance(inner, type) and issubclass(inner, ApiModel):
            yield from mutations(inner, current, path)
        elif isinstance(current, list):
            (item,) = get_args(inner)
            for index, one in enumerate(current):
                if isinstance(item, type) and issubclass(item, ApiModel):
                    yield from mutations(item, one, (*path, index))


def declared(model: type[ApiModel], at: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted path of every field that a resource of this kind can have."""
    for info in model.model_fields.values():
        path, inner = (*at, str(info.alias)), _inner(info.annotation)
        yield ".".join(path)
        item = _inner(get_args(inner)[0]) if get_origin(inner) is list else inner
        if isinstance(item, type) and issubclass(item, ApiModel):
            yield from declared(item, path)


def _others(info: FieldInfo, current: Any) -> list[Any]:
    """Other values that the field's own type and limits allow."""
    annotated: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    judge: TypeAdapter[Any] = TypeAdapter(annotated)
    found: list[Any] = []
    for candidate in _candidates(_inner(info.annotation), current):
        if candidate == current or candidate in found:
            continue
        try:
            judge.validate_python(candidate, strict=False)
        except ValidationError:
            continue
        found.append(candidate)
    return found[:_AT_MOST]


def _candidates(kind: Any, current: Any) -> Iterator[Any]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif kind is bool:
        yield not current
    elif kind in (int, float):
        number = current or 0
        yield from (number * 2, number + 1, number / 2 if kind is float else number // 2, kind(1), kind(128))
    elif kind is str:
        yield from (*((f"{current}x",) if current else ()), *_STRINGS)
        yield (current or "").replace("a", "b")  # of digests and keys, whose form nothing else has
    elif get_origin(kind) is dict:
        entries = current or {}
        yield {**entries, "other": "1"}
        for name in entries:
            yield {**entries, name: next(value for value in ("3", "1") if value != entries[name])}
            yield {key: value for key, value in entries.items() if key != name}
    elif get_origin(kind) is list:
        yield from _lists(get_args(kind)[0], current or [])


def _lists(item: Any, current: list[Any]) -> Iterator[list[Any]]:
    if len(current) > 1:
        yield current[:-1]
    inner = _inner(item)
    if get_origin(inner) is Literal:
        yield from ([option] for option in get_args(inner))
    elif inner is str:
        yield [*current, "other"]
    elif current:
        first = copy.deepcopy(current[0])
        if "name" in first:
            first["name"] = "other"
        yield [*current, first]


def _inner(annotation: Any) -> Any:
    """The type without None and limits."""
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType, typing.Union):
        (one,) = (each for each in get_args(annotation) if each is not type(None))
        return _inner(one)
    return annotation
