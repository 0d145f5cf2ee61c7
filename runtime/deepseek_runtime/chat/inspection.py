"""Whether a model's templates are what templates should be, found out before the model is sealed."""

from pathlib import Path

from deepseek_runtime.chat import template
from deepseek_runtime.chat.renderer import Limits, Renderer, TemplateFailedError, TemplateRefusedError
from deepseek_runtime.chat.template import BadTemplateError, ChatTemplate
from deepseek_runtime.job.errors import DataError

_TURN = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SAMPLES = ([_TURN[0]], [{"role": "system", "content": "c"}, *_TURN, *_TURN, _TURN[0]])


LIMITS = Limits()


def check(directory: Path, limits: Limits = LIMITS) -> None:
    """Render samples in the sandbox. Errors: DataError `UnsafeTemplate` that names the file.

    Unsafe is a template that names Python's internals, takes more than its limits, or is longer than any that is read;
    one that is broken or wants other messages is not: such a model is served without chat, or with its own words.
    """
    try:
        found = template.every(directory)
    except BadTemplateError as error:
        raise _unsafe(str(error)) from error
    for name, each in found:
        if (why := _trouble(each, limits)) is not None:
            raise _unsafe(f"The chat template in {name} is unsafe: {why}.")


def _trouble(source: ChatTemplate, limits: Limits) -> str | None:
    with Renderer(source, limits) as renderer:
        for messages in SAMPLES:
            try:
                renderer.render(messages, add_generation_prompt=True)
            except TemplateRefusedError:
                continue
            except TemplateFailedError as error:
                if error.unsafe:
                    return str(error).removeprefix("SecurityError: ")
    return None


def _unsafe(happened: str) -> DataError:
    return DataError(
        "UnsafeTemplate",
        f"{happened} Name a source with another template, or allow UnsafeTemplate in verification.allow: the template "
        "stays in its sandbox, and the model may be served without chat.",
    )
