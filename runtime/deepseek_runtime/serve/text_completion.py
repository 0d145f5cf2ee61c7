"""`/v1/completions`: a text that goes on."""

from dataclasses import dataclass
from typing import Any, ClassVar

from deepseek_runtime.chat.tokens import ForgedTokenError
from deepseek_runtime.gateway.openai.errors import invalid
from deepseek_runtime.gateway.openai.request import CompletionRequest
from deepseek_runtime.serve.engine import Delta, ScoredToken
from deepseek_runtime.serve.engine_thread import Loaded
from deepseek_runtime.serve.protocol import Prepared, Writer, check_characters, check_tokens

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default."""


def prepare(asked: CompletionRequest, loaded: Loaded, served_name: str) -> Prepared:
    """The prompt's tokens, which leave room for an answer; errors: ApiError 400."""
    if isinstance(asked.prompt, str):
        check_characters(len(asked.prompt), asked, loaded.context_length)
        try:
            tokens = loaded.tokenizer.encode(asked.prompt)
        except ForgedTokenError as error:
            raise invalid(
                f"'prompt' cannot be read: {error}. Leave it out.", param="prompt", code="special_token"
            ) from None
    else:
        tokens = asked.prompt
        if max(tokens) >= loaded.vocab_size:
            raise invalid(
                f"'prompt' has token {max(tokens)}; tokens of this model are 0 to {loaded.vocab_size - 1}.",
                param="prompt",
            )
    if not tokens:
        raise invalid("'prompt' has no tokens; it must have at least one.", param="prompt")
    check_tokens(len(tokens), asked, loaded.context_length)
    most = asked.max_tokens or min(DEFAULT_MAX_TOKENS, loaded.context_length - len(tokens))
    return Prepared(tokens, most, asked.logprobs, Completion(served_name, len(tokens), asked.logprobs))


@dataclass(frozen=True, slots=True)
class Completion(Writer):
    """Writes OpenAI's text completion."""

    prefix: ClassVar[str] = "cmpl"
    chunk_kind: ClassVar[str] = "text_completion"

    def whole(self, deltas: list[Delta]) -> dict[str, Any]:
        """As Writer's."""
        scored = tuple(token for delta in deltas for token in delta.scored)
        text = "".join(delta.text for delta in deltas)
        choice = self._choice(text, scored, deltas[-1].finish_reason)
        return {**self.object(self.chunk_kind, [choice]), "usage": self.usage(deltas[-1])}

    def opening(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def chunks(self, delta: Delta) -> list[dict[str, Any]]:
        """One."""
        return [self.object(self.chunk_kind, [self._choice(delta.text, delta.scored, delta.finish_reason)])]

    def _choice(self, text: str, scored: tuple[ScoredToken, ...], reason: str | None) -> dict[str, Any]:
        logprobs = None
        if self.logprobs is not None:
            logprobs = {
                "tokens": [token.name for token in scored],
                "token_logprobs": [token.logprob for token in scored],
                "top_logprobs": [_top(token) for token in scored] if self.logprobs else None,
                "text_offset": [token.offset for token in scored],
            }
        return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _top(token: ScoredToken) -> dict[str, float]:
    """The likeliest tokens, and the chosen one, so that there may be one more than asked for (as OpenAI's)."""
    return {token.name: token.logprob, **token.top}
