"""How the model that is served reads a conversation, or why it cannot."""

import logging
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from deepseek_runtime.chat import template
from deepseek_runtime.chat.origin import TEMPLATE
from deepseek_runtime.chat.renderer import Rendered, Renderer, TemplateFailedError, TemplateRefusedError
from deepseek_runtime.chat.template import BadTemplateError
from deepseek_runtime.chat.tokens import ChatTokenizer, ForgedTokenError
from deepseek_runtime.gateway.openai.errors import ApiError, invalid

LOG = logging.getLogger(__name__)

_SAMPLE = [{"role": "user", "content": "a"}]


class Chat:
    """One model's template and tokenizer; `tokenize` may be called from several threads."""

    def __init__(self, renderer: Renderer | None, tokenizer: ChatTokenizer, obstacle: ApiError | None = None) -> None:
        """`obstacle`: why there is no chat, whatever the messages are."""
        self._renderer = renderer
        self._tokenizer = tokenizer
        self._obstacle = obstacle

    @classmethod
    def load(cls, directory: Path, tokenizer: Tokenizer, end: frozenset[int]) -> Self:
        """Read the template and start its process; a model whose template is bad is served without chat."""
        tokens = ChatTokenizer(tokenizer, end)
        try:
            found = template.load(directory)
        except BadTemplateError as error:
            LOG.warning("no chat: %s", error)
            return cls(None, tokens, _unusable(str(error)))
        if found is None:
            return cls(None, tokens, _missing())
        chat = cls(Renderer(found), tokens)
        chat._check()
        return chat

    def close(self) -> None:
        """End the template's process."""
        if self._renderer is not None:
            self._renderer.close()

    def tokenize(self, messages: list[dict[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins; errors: ApiError 400."""
        if self._renderer is None or self._obstacle is not None:
            raise self._obstacle or _missing()
        try:
            rendered = self._renderer.render(messages, add_generation_prompt=True)
            return self._tokenizer.tokenize(rendered).ids
        except TemplateRefusedError as error:
            raise invalid(
                f"The model's chat template refuses these messages: {error}",
                param="messages",
                code="chat_template_refused",
            ) from None
        except TemplateFailedError as error:
            raise _unusable(f"The model's chat template fails: {error}.") from None
        except ForgedTokenError as error:
            message = f"'messages' cannot be read: {error}. Leave it out."
            raise invalid(message, param="messages", code="special_token") from None

    def _check(self) -> None:
        """A template whose special tokens cannot be told from what people write would work, but not as it should."""
        if self._renderer is None:
            return
        try:
            rendered = self._renderer.render(_SAMPLE, add_generation_prompt=True)
        except TemplateRefusedError:
            return  # it wants other messages
        except TemplateFailedError as error:
            LOG.warning("the chat template fails: %s", error)
            return  # and will say so to whoever asks
        trusted = Rendered(rendered.text, bytes((TEMPLATE,)) * len(rendered.text))
        if self._tokenizer.tokenize(rendered).ids != self._tokenizer.tokenize(trusted).ids:
            self._obstacle = _unusable(
                "The model's chat template writes special tokens in a way that cannot be told from what people write."
            )
            LOG.warning("no chat: %s", self._obstacle.message)


def _missing() -> ApiError:
    return invalid(
        "The model has no chat template, so it cannot be asked by messages. Use /v1/completions with a prompt.",
        param="model",
        code="no_chat_template",
    )


def _unusable(why: str) -> ApiError:
    return invalid(f"{why} Use /v1/completions with a prompt.", param="model", code="bad_chat_template")
