"""From a task and its documents to what a model is asked, text for text as lm-evaluation-harness 0.4.13 asks it."""

import ast
import random
from collections.abc import Sequence
from dataclasses import dataclass

from deepseek_runtime.evaluate.tasks import templates
from deepseek_runtime.evaluate.tasks.definition import Definition
from deepseek_runtime.evaluate.tasks.documents import Document
from deepseek_runtime.evaluate.tasks.templates import Request
from deepseek_runtime.job.errors import ConfigurationError, DataError

SEED = 1234
"""Of the few-shot examples: the default of lm-evaluation-harness."""


@dataclass(frozen=True, slots=True)
class Question:
    """`choices` are empty but of multiple_choice, whose `target` is the number of the right one."""

    context: str
    choices: tuple[str, ...]
    target: int
    answer: str


@dataclass(frozen=True, slots=True)
class _Turn:
    """A document's own part of a prompt."""

    text: str
    choices: tuple[str, ...]
    target: int
    answer: str
    description: str


def questions(
    definition: Definition, scored: Sequence[Document], pool: Sequence[Document], few_shot: int
) -> list[Question]:
    """One question for each scored document, after `few_shot` examples from the pool.

    Errors: ConfigurationError `TooFewExamples`; DataError `BadTask`, which names the key and the document.
    """
    drawn = _draw(definition, scored, pool, few_shot)
    used = {id(document): document for document in (*scored, *(each for group in drawn for each in group))}
    turns = dict(zip(used, _turns(definition, list(used.values())), strict=True))
    found = []
    for document, group in zip(scored, drawn, strict=True):
        turn = turns[id(document)]
        head = turn.description
        examples = [turns[id(each)] for each in group]
        asked = [f"{e.text}{definition.target_delimiter}{e.answer}{definition.fewshot_delimiter}" for e in examples]
        found.append(Question("".join([head, *asked, turn.text]), turn.choices, turn.target, turn.answer))
    return found


def _draw(
    definition: Definition, scored: Sequence[Document], pool: Sequence[Document], count: int
) -> list[list[Document]]:
    """The examples of each document, drawn as the harness draws them: in order, from one generator."""
    if count == 0:
        return [[] for _ in scored]
    same = definition.fewshot_split == definition.test_split
    if len(pool) < count + same:
        raise ConfigurationError(
            "TooFewExamples",
            f"The task asks for {count} few-shot examples; the split {definition.examples} has {len(pool)} documents.",
        )
    source, drawn = random.Random(SEED), []
    for document in scored:
        others = [each for each in pool if each.fields != document.fields] if same else list(pool)
        if definition.fewshot_config.sampler == "first_n":
            group = others[:count]
        elif same:
            sampled = source.sample(list(pool), count + 1)
            group = [each for each in sampled if each.fields != document.fields][:count]
            if len(group) < count <= len(others):
                group = source.sample(others, count)
        else:
            group = source.sample(list(pool), count)
        if len(group) < count:
            raise ConfigurationError(
                "TooFewExamples", f"There are fewer than {count} examples that are not {document.name} itself."
            )
        drawn.append(group)
    return drawn


def _turns(definition: Definition, documents: Sequence[Document]) -> list[_Turn]:
    """Every document's texts, rendered in one go."""
    keys: dict[str, str] = {"doc_to_text": definition.doc_to_text}
    if isinstance(definition.doc_to_target, str):
        keys["doc_to_target"] = definition.doc_to_target
    if isinstance(definition.doc_to_choice, str):
        keys["doc_to_choice"] = definition.doc_to_choice
    if definition.description:
        keys["description"] = definition.description
    asked = [
        (index, key, template)
        for index, document in enumerate(documents)
        for key, template in keys.items()
        if template not in document.fields
    ]
    texts = templates.render(
        [Request(key, template, documents[index].fields, documents[index].name) for index, key, template in asked]
    )
    rendered = {(index, key): text for (index, key, _), text in zip(asked, texts, strict=True)}
    return [
        _turn(
            definition,
            document,
            {
                key: rendered[index, key] if (index, key) in rendered else document.fields[template]
                for key, template in keys.items()
            },
            {key for key in keys if (index, key) in rendered},
        )
        for index, document in enumerate(documents)
    ]


def _turn(definition: Definition, document: Document, values: dict[str, object], rendered: set[str]) -> _Turn:
    """A value is a rendered text, or whatever a field of the document has."""
    text, description = values["doc_to_text"], values.get("description", "")
    if not isinstance(text, str):
        raise _bad("doc_to_text", document, "is no text")
    if not isinstance(description, str):
        raise _bad("description", document, "is no text")
    target: object = values.get("doc_to_target", definition.doc_to_target)
    if "doc_to_target" in rendered and isinstance(target, str):
        target = _literal(target, numbers=definition.doc_to_choice is not None)
    if definition.doc_to_choice is None:
        if not isinstance(target, str):
            raise _bad("doc_to_target", document, "is no text; several targets are not honoured")
        return _Turn(text, (), 0, target, description)
    if "doc_to_text" in rendered and text.isdigit():
        raise _bad("doc_to_text", document, "is a number: tasks with several inputs are not honoured")
    choices = _choices(definition, document, values.get("doc_to_choice"), "doc_to_choice" in rendered)
    if isinstance(target, str):
        target = choices.index(target) if target in choices else -1
    if not isinstance(target, int) or isinstance(target, bool) or not 0 <= target < len(choices):
        raise _bad("doc_to_target", document, f"is none of its {len(choices)} choices")
    return _Turn(text, choices, target, choices[target], description)


def _choices(definition: Definition, document: Document, value: object, rendered: bool) -> tuple[str, ...]:
    if isinstance(definition.doc_to_choice, list):
        value = definition.doc_to_choice
    elif rendered and isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise _bad("doc_to_choice", document, "is no list of texts") from error
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise _bad("doc_to_choice", document, "is no list of texts")
    return tuple(value)


def _literal(text: str, *, numbers: bool) -> object:
    """As the harness reads a rendered target: a number among choices, or a list."""
    if not ((numbers and text.isdigit()) or (len(text) >= 2 and text[0] == "[" and text[-1] == "]")):
        return text
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def _bad(key: str, document: Document, what: str) -> DataError:
    return DataError("BadTask", f"{key} of the task, with {document.name}, {what}.")
