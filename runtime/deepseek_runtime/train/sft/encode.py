"""Examples to tokens, and which of them are learned."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from transformers import PretrainedConfig

from deepseek_runtime.chat import template
from deepseek_runtime.chat.renderer import Renderer, TemplateFailedError, TemplateRefusedError
from deepseek_runtime.chat.tokens import ChatTokenizer, ForgedTokenError
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.train.sft.examples import Tokenized
from deepseek_runtime.train.sft.lines import BadLineError, Completion, Conversation
from deepseek_runtime.train.tokens import special_token


class Encoder:
    """Makes of an example what a service on the model is given and should answer; no text becomes a control token.

    Use with `with`: the model's chat template runs in a process of its own.
    """

    def __init__(self, model: Path, config: PretrainedConfig) -> None:
        """Errors: DataError `BadTokenizer` and `BadChatTemplate`, ConfigurationError where nothing ends a text."""
        self._tokenizer = Tokenizer(model, config)
        self._end = special_token(model, "eos")
        try:
            found = template.load(model)
        except template.BadTemplateError as error:
            raise DataError("BadChatTemplate", str(error)) from error
        self._renderer = Renderer(found) if found is not None else None
        self._chat = ChatTokenizer(self._tokenizer.backend, self._tokenizer.end)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._renderer is not None:
            self._open.enter_context(self._renderer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def encode(self, example: Completion | Conversation) -> Tokenized:
        """The example's tokens. BadLineError where the model cannot be told it; ConfigurationError `NoChatTemplate`."""
        try:
            return self._completion(example) if isinstance(example, Completion) else self._conversation(example)
        except ForgedTokenError as error:
            raise BadLineError(str(error)) from None

    def _completion(self, example: Completion) -> Tokenized:
        """A prompt as `/v1/completions` takes it, then the answer and the end of text."""
        prompt = self._tokenizer.encode(example.prompt)
        answer = [*self._tokenizer.continuation(example.completion), self._end]
        return Tokenized(prompt + answer, [False] * len(prompt) + [True] * len(answer))

    def _conversation(self, messages: Conversation) -> Tokenized:
        """A conversation as the model's chat template writes it; every answer is learned, with its end token."""
        if self._renderer is None:
            raise ConfigurationError(
                "NoChatTemplate",
                "The data has messages, and the model no chat template to write them with. Start from a model that has "
                "one, or give prompt and completion.",
            )
        try:
            rendered = self._renderer.render([asdict(message) for message in messages], add_generation_prompt=False)
            found = self._chat.tokenize(rendered)
        except TemplateRefusedError as error:
            raise BadLineError(f"the model's chat template refuses it: {error}") from None
        except TemplateFailedError as error:
            raise BadLineError(f"the model's chat template fails on it: {error}") from None
        answers = [False, *found.answers[1:]]  # nothing stands before the first token that it could follow from
        if not any(answers):
            raise BadLineError("the model's chat template leaves out every answer")
        return Tokenized(found.ids, answers)
