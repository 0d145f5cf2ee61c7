"""From an OpenAI completion request to what the engine takes, and from its deltas to OpenAI's objects.

The parameters, their types and ranges are the gateway's own (gateway.openai.request): one schema for both.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deepseek_runtime.gateway.openai.errors import invalid
from deepseek_runtime.gateway.openai.request import CompletionRequest
from deepseek_runtime.serve.engine import Delta, Request, ScoredToken
from deepseek_runtime.serve.engine_thread import Loaded
from deepseek_runtime.serve.sampler import SamplingParams

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default."""

CHARACTERS_PER_TOKEN = 64
"""A prompt longer than this for every token of the context is refused before it is tokenized."""


def tokenize(asked: CompletionRequest, loaded: Loaded) -> list[int]:
    """The prompt's tokens, which leave room for an answer; errors: ApiError 400."""
    context = loaded.context_length
    if isinstance(asked.prompt, str):
        if len(asked.prompt) > context * CHARACTERS_PER_TOKEN:
            raise _too_long(f"'prompt' has {len(asked.prompt)} characters, far more than fit", "prompt", context)
        tokens = loaded.tokenizer.encode(asked.prompt)
    else:
        tokens = asked.prompt
        if max(tokens) >= loaded.vocab_size:
            raise invalid(
                f"'prompt' has token {max(tokens)}; tokens of this model are 0 to {loaded.vocab_size - 1}.",
                param="prompt",
            )
    if not tokens:
        raise invalid("'prompt' has no tokens; it must have at least one.", param="prompt")
    if len(tokens) >= context:
        raise _too_long(f"'prompt' has {len(tokens)} tokens", "prompt", context)
    if len(tokens) + (asked.max_tokens or 0) > context:
        raise _too_long(
            f"'prompt' has {len(tokens)} tokens and 'max_tokens' is {asked.max_tokens}", "max_tokens", context
        )
    return tokens


def engine_request(
    asked: CompletionRequest, prompt: list[int], context_length: int, deliver: Callable[[Delta], None]
) -> Request:
    """The request with OpenAI's defaults filled in."""
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    params = SamplingParams(
        temperature=_temperature(asked.temperature),
        top_p=1.0 if asked.top_p is None else asked.top_p,
        top_k=max(0, asked.top_k or 0),
        frequency_penalty=asked.frequency_penalty or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        repetition_penalty=1.0 if asked.repetition_penalty is None else asked.repetition_penalty,
        seed=asked.seed,
        logprobs=asked.logprobs,
    )
    max_tokens = asked.max_tokens or min(DEFAULT_MAX_TOKENS, context_length - len(prompt))
    return Request(prompt, max_tokens, params, deliver, stop=stop, ignore_end=bool(asked.ignore_eos))


def _temperature(asked: float | None) -> float:
    """OpenAI's default is 1; below 1e-5 the choice is greedy, for float32 cannot divide by less."""
    return 1.0 if asked is None else asked if asked >= 1e-5 else 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """Writes the objects of one answer."""

    model: str
    prompt_tokens: int
    logprobs: int | None
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, deltas: list[Delta]) -> dict[str, Any]:
        """The answer in one piece."""
        scored = tuple(token for delta in deltas for token in delta.scored)
        text = "".join(delta.text for delta in deltas)
        return {
            **self._object([self._choice(text, scored, deltas[-1].finish_reason)]),
            "usage": self._usage(deltas[-1]),
        }

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """One event of a stream."""
        return self._object([self._choice(delta.text, delta.scored, delta.finish_reason)])

    def usage_chunk(self, last: Delta) -> dict[str, Any]:
        """The event with the token counts, which has no choices."""
        return {**self._object([]), "usage": self._usage(last)}

    def _object(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _choice(self, text: str, scored: tuple[ScoredToken, ...], reason: str | None) -> dict[str, Any]:
        logprobs = None
        if self.logprobs is not None:
            logprobs = {
                "tokens": [token.name for token in scored],
                "token_logprobs": [token.logprob for token in scored],
                "top_logprobs": [self._top(token) for token in scored] if self.logprobs else None,
                "text_offset": [token.offset for token in scored],
            }
        return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _top(self, token: ScoredToken) -> dict[str, float]:
        """The likeliest tokens, and the chosen one, so that there may be one more than asked for (as OpenAI's)."""
        return {token.name: token.logprob, **token.top}

    def _usage(self, last: Delta) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": last.completion_tokens,
            "total_tokens": self.prompt_tokens + last.completion_tokens,
        }


def _too_long(what: str, param: str, context: int) -> Exception:
    return invalid(
        f"{what}, but the model's context is {context} tokens long, prompt and answer together.",
        param=param,
        code="context_length_exceeded",
    )
