"""Templates give the text that transformers gives, and hostile ones give an error, soon."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from deepseek_runtime.chat.origin import ANSWER, OUTSIDE, TEMPLATE
from deepseek_runtime.chat.renderer import Limits, Renderer, TemplateFailedError, TemplateRefusedError
from deepseek_runtime.chat.template import ChatTemplate
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from tests.unit.chat.templates import ALL, SPECIAL

TEXT = st.text(max_size=20) | st.sampled_from(["<|eos|>", " <|user|> x ", "a</think>\n b", "{{ bos_token }}", "\n\n"])


@pytest.fixture(scope="module")
def renderers() -> Iterator[dict[str, Renderer]]:
    made = {name: Renderer(ChatTemplate(source, SPECIAL)) for name, source in ALL.items()}
    yield made
    for renderer in made.values():
        renderer.close()


def conversation(texts: list[str]) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


@pytest.mark.parametrize("name", sorted(set(ALL) - {"headers"}))
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1))
def test_the_text_is_transformers(renderers: dict[str, Renderer], name: str, texts: list[str]) -> None:
    messages = conversation(texts)
    found = renderers[name].render(messages, add_generation_prompt=True)
    expected, _ = render_jinja_template([messages], chat_template=ALL[name], add_generation_prompt=True, **SPECIAL)
    assert found.text == expected[0]
    assert len(found.origins) == len(found.text)


def test_a_template_that_wants_the_date_gets_its_own_default(renderers: dict[str, Renderer]) -> None:
    messages = [{"role": "system", "content": " Be kind. "}, {"role": "user", "content": "Hi"}]
    text = renderers["headers"].render(messages, add_generation_prompt=True).text
    assert text == (
        "<|bos|><|user|>SYSTEM<|assistant|>\n\n26 Jul 2024\n\nBe kind.<|eos|>"
        "<|user|>USER<|assistant|>\n\nHi<|eos|><|user|>ASSISTANT<|assistant|>\n\n"
    )


@pytest.mark.parametrize("name", sorted(ALL))
@settings(max_examples=20, deadline=None)
@given(text=st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=9))
def test_every_character_knows_where_it_comes_from(renderers: dict[str, Renderer], name: str, text: str) -> None:
    """No template here writes Chinese, so each such character is a message's, and special tokens are the template's."""
    rendered = renderers[name].render(conversation([text, text, text]), add_generation_prompt=True)
    for letter, origin in zip(rendered.text, rendered.origins, strict=True):
        if letter in text:
            assert not origin & TEMPLATE
        elif letter in "<|>[]":
            assert origin & TEMPLATE
    answered = "".join(
        letter for letter, origin in zip(rendered.text, rendered.origins, strict=True) if origin & ANSWER
    )
    assert answered in {text, f"{text}<|eos|>"}


HOSTILE = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "power": "{{ 10 ** (10 ** 9) }}",
    "memory": "{{ 'x' * (10 ** 11) }}",
    "constant": "{% set x = 'x' * (10 ** 10) %}",
    "width": "{{ '%10000000000d' % 1 }}",
    "format": "{{ '{:>10000000000}'.format(1) }}",
    "indent": "{{ messages | tojson(indent=10000000000) }}",
    "output": "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "growing": "{% set ns = namespace(x='x') %}{% for i in range(999) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "files": "{% include '/etc/passwd' %}",
    "imports": "{% import 'os' as os %}",
    "internals": "{{ ''.__class__.__mro__[1].__subclasses__()[0] }}",
    "internals by filter": "{{ (messages | attr('__class__')).mro() }}",
    "internals by format": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "namespace": "{% set ns = namespace(__class__=1) %}",
    "changes": "{{ messages.append(1) }}",
    "clock": "{{ strftime_now('%Y') }}",
    "chance": "{{ [1, 2] | random }}",
    "syntax": "{% for %}",
    "surrogate": "{{ '\\ud800' }}",
    "undefined": "{{ messages[0].tools.name }}",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_template_fails_soon_and_says_why(name: str) -> None:
    limits = Limits(cpu_seconds=0.3, memory_bytes=256 << 20)
    with Renderer(ChatTemplate(HOSTILE[name], {}), limits) as renderer:
        for _ in range(2):  # the second time after its process may have been killed
            with pytest.raises(TemplateFailedError) as caught:
                renderer.render([{"role": "user", "content": "x"}], add_generation_prompt=True)
            assert 5 < len(str(caught.value)) <= 1000


def test_what_a_template_could_reach_is_closed() -> None:
    """Whoever escapes from Jinja finds no file, no socket, no child process and no environment."""
    program = (
        "import os, socket, sys\n"
        "from deepseek_runtime.chat.sandbox import confine\n"
        "confine(1 << 30)\n"
        "left = [name for name in os.environ if name not in ('PYTHONPATH', 'LC_CTYPE')]\n"
        "for tried in (lambda: open('/etc/passwd'), socket.socket, os.fork, os.pipe):\n"
        "    try:\n"
        "        tried()\n"
        "    except OSError:\n"
        "        continue\n"
        "    left.append(str(tried))\n"
        "print(left)\n"
    )
    root = os.geteuid() == 0  # whom RLIMIT_NPROC does not bind
    if root:
        program = program.replace("os.fork, ", "")
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout == "[]\n"


def test_a_killed_process_is_replaced_and_others_wait_their_turn() -> None:
    source = "{% if messages[0].content == 'loop' %}" + HOSTILE["loops"] + "{% endif %}{{ messages[0].content }}"
    with Renderer(ChatTemplate(source, {}), Limits(cpu_seconds=0.2)) as renderer:
        for _ in range(2):
            with pytest.raises(TemplateFailedError, match=r"0\.2 s of processor time"):
                renderer.render([{"role": "user", "content": "loop"}], add_generation_prompt=True)
            found = renderer.render([{"role": "user", "content": "fine"}], add_generation_prompt=True)
            assert (found.text, found.origins) == ("fine", bytes([OUTSIDE]) * 4)


def test_a_process_that_answers_nothing_is_ended() -> None:
    with Renderer(ChatTemplate("x", {})) as renderer:
        renderer.render([], add_generation_prompt=False)
        renderer.limits = Limits(patience=0.3)
        os.kill(renderer.pid or 0, signal.SIGSTOP)
        before = time.monotonic()
        with pytest.raises(TemplateFailedError, match="no answer"):
            renderer.render([], add_generation_prompt=False)
        assert time.monotonic() - before < 10


def test_a_refusal_is_the_templates_own_words_and_bounded() -> None:
    with Renderer(ChatTemplate("{{ raise_exception('no ' * 9999) }}", {})) as renderer:
        with pytest.raises(TemplateRefusedError, match="no no") as caught:
            renderer.render([], add_generation_prompt=False)
        assert len(str(caught.value)) == 1000
