"""Jinja as chat templates expect it (Hugging Face's dialect), with the origin of every character kept.

Rendering here bounds neither time nor memory: sandbox.py does. What differs from transformers, so that equal messages
give equal text: there is no clock (`strftime_now` is undefined; templates that use it have a fixed date for that case)
and nothing random.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Environment, Template, nodes, pass_environment
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import make_attrgetter
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from deepseek_runtime.chat.origin import ANSWER, TEMPLATE, Sourced, joined, origins, plain


class RefusedError(Exception):
    """The template's own refusal: `raise_exception`."""


class TooLongError(TemplateError):
    """The template writes without end."""


class _Generator(CodeGenerator):
    """Writes every string of the template's source as one whose origin is the template.

    A template that names Python's internals is refused as a whole, whether or not its messages would lead there.
    """

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 Jinja's name
        _check_internals(node.attr)
        super().visit_Getattr(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 Jinja's name
        if isinstance(node.arg, nodes.Const):
            _check_internals(node.arg.value)
        super().visit_Getitem(node, frame)

    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:  # noqa: N802 Jinja's name
        for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
            if isinstance(argument, nodes.Const):
                _check_internals(argument.value)
        super().visit_Filter(node, frame)

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802 Jinja's name
        value = node.as_const(frame.eval_ctx)
        if isinstance(value, str):
            self.write(_own(value))
        else:
            super().visit_Const(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 Jinja's name
        self.write("environment.concat(map(str, (")
        for argument in node.nodes:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")))")

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return _own("".join(map(str, group)))


def _check_internals(name: object) -> None:
    if isinstance(name, str) and any(part.startswith("__") for part in name.split(".")):
        raise SecurityError(f"it reaches for {name!r}, a name of Python's internals")


def _own(text: str) -> str:
    return f"environment.own({text!r})"


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` around what the assistant says."""

    tags = {"generation"}  # noqa: RUF012 as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        self.environment.marks_answers = True  # type: ignore[attr-defined]
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_answer"), [], [], body).set_lineno(line)

    def _answer(self, caller: Callable[[], str]) -> str:
        text = caller()
        return Sourced(text, bytes(origin | ANSWER for origin in origins(text)))


class _Namespace(Namespace):
    """Refuses names that lead to Python's internals (transformers does so, too)."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `self` may be a name in the template
        for name in kwargs:
            _check_name(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have the name {name!r}")


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """No loader, no clock, no randomness, no attribute that begins with an underscore."""

    code_generator_class = _Generator
    concat = staticmethod(joined)

    def __init__(self) -> None:
        self.marks_answers = False  # whether the template says itself what the answers are
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # folding would make plain strings of the template's own
            extensions=[_Generation, LoopControlExtension],
        )
        self.filters.update(join=_join, tojson=_tojson)
        del self.filters["random"]
        self.globals = {
            "range": self.globals["range"],
            "dict": lambda *args, **kwargs: dict(*args, **kwargs),
            "namespace": _Namespace,
            "joiner": self.globals["joiner"],
            "cycler": self.globals["cycler"],
            "raise_exception": _raise_exception,
        }

    def own(self, text: str) -> str:
        """A string of the template's source."""
        return Sourced(text, TEMPLATE)


@pass_environment
def _join(environment: Environment, values: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    return Sourced(d, origins(d)).join(map(str, values))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the HTML escapes of Jinja's own."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> str:
    raise RefusedError(plain(str(message)))


class CompiledTemplate:
    """A template with the special tokens (`bos_token`, `eos_token`, …) that it may write."""

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        """Errors: TemplateError, and whatever else hostile source can provoke."""
        environment = ChatEnvironment()
        self._template: Template = environment.from_string(source)
        self._marks_answers = environment.marks_answers
        self._special = {name: Sourced(token, TEMPLATE) for name, token in special.items()}

    def render(self, messages: list[dict[str, str]], add_generation_prompt: bool, longest: int) -> tuple[str, bytes]:
        """Text and origins. Errors: RefusedError, TooLongError, TemplateError, and what else a template can provoke."""
        pieces, length = [], 0
        for piece in self._template.generate(
            **self._special,
            messages=[self._message(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            tools=None,
            documents=None,
        ):
            length += len(piece)
            if length > longest:
                raise TooLongError(f"it writes more than {longest} characters")
            pieces.append(piece)
        text = joined(pieces)
        return plain(text), origins(text)

    def _message(self, message: dict[str, str]) -> dict[str, str]:
        if self._marks_answers or message["role"] != "assistant":
            return message
        return {**message, "content": Sourced(message["content"], ANSWER)}
