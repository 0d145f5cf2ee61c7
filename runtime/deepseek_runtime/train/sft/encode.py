"""Examples to tokens, and which of them are learned."""

from pathlib import Path

from transformers import PretrainedConfig

from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.train.sft.examples import Tokenized
from deepseek_runtime.train.sft.lines import BadLineError, Completion, Conversation
from deepseek_runtime.train.tokens import special_token


class Encoder:
    """Makes of an example what a service on the model is given and should answer; no text becomes a special token."""

    def __init__(self, model: Path, config: PretrainedConfig) -> None:
        self._tokenizer = Tokenizer(model, config)
        self._end = special_token(model, "eos")

    def __call__(self, example: Completion | Conversation) -> Tokenized:
        """The example's tokens. BadLineError where it cannot be told as the model is told things."""
        if isinstance(example, Completion):
            return self._completion(example)
        raise BadLineError("messages need a chat template, and the model has none; give prompt and completion")

    def _completion(self, example: Completion) -> Tokenized:
        """A prompt as `/v1/completions` takes it, then the answer and the end of text."""
        prompt = self._tokenizer.encode(example.prompt)
        answer = [*self._tokenizer.continuation(example.completion), self._end]
        return Tokenized(prompt + answer, [False] * len(prompt) + [True] * len(answer))
