"""A task's templates give what they give in the harness, and a hostile one ends in a sentence that names it."""

import time

import pytest
from deepseek_runtime.evaluate.tasks import templates
from deepseek_runtime.evaluate.tasks.templates import Limits, Request
from deepseek_runtime.job.errors import DataError


def render(template: str, limits: Limits | None = None, **document: object) -> str:
    (text,) = templates.render([Request("doc_to_text", template, document, "line 3 of docs.jsonl")], limits or Limits())
    return text


def test_what_task_files_write_is_rendered() -> None:
    assert render("{{question.strip()}}\nAnswer: {{ choices[label] }}\n", question=" a ", choices=["b"], label=0) == (
        "a\nAnswer: b\n"
    )
    assert templates.render([Request("k", "{{a}}", {"a": n}, "d") for n in range(50)]) == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ missing }}", "'missing' is undefined"),
        ("{{ ''.__class__ }}", "__class__"),
        ("{{ ''['__class__'] }}", "__class__"),
        ("{{ '' | attr('__class__') }}", "__class__"),
        ("{{ '{0.__class__}'.format(question) }}", "__class__"),
        ("{{ cycler.__init__.__globals__ }}", "__init__"),
        ("{% include '/etc/passwd' %}", "loader"),
        ("{{ question | random }}", "random"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "processor time"),
        ("{{ 'a' * 2000000 }}", "characters"),
        ("{{ 9 ** (9 ** 9) }}", ""),
        ("{{ 'a' * 9999999999 }}", ""),
        ("{% for", "line 1"),
    ],
)
def test_hostile_templates_are_refused_in_time_with_key_and_document(template: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        DataError, match=r"doc_to_text of the task cannot be rendered with line 3 of docs\.jsonl"
    ) as caught:
        render(template, Limits(cpu_seconds=0.2), question="a")
    assert caught.value.reason == "BadTask"
    assert said in caught.value.message
    assert time.monotonic() - began < 60
