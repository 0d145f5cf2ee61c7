"""What both endpoints have in common: from OpenAI's parameters to what the engine takes, and back to OpenAI's objects.

The parameters, their types and ranges are the gateway's own (gateway.openai): one schema for both.
"""

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deepseek_runtime.gateway.openai.errors import ApiError, invalid
from deepseek_runtime.gateway.openai.request import SamplingRequest
from deepseek_runtime.serve.engine import Delta, Request
from deepseek_runtime.serve.sampler import SamplingParams

CHARACTERS_PER_TOKEN = 64
"""A prompt longer than this for every token of the context is refused before it is tokenized."""


@dataclass(frozen=True, slots=True)
class Writer(ABC):
    """Writes the objects of one answer."""

    prefix: ClassVar[str]
    chunk_kind: ClassVar[str]

    model: str
    prompt_tokens: int
    logprobs: int | None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @abstractmethod
    def whole(self, deltas: list[Delta]) -> dict[str, Any]:
        """The answer in one piece."""

    @abstractmethod
    def opening(self) -> list[dict[str, Any]]:
        """Events of a stream that come before any token."""

    @abstractmethod
    def chunks(self, delta: Delta) -> list[dict[str, Any]]:
        """Events of a stream for what was generated."""

    def usage_chunk(self, last: Delta) -> dict[str, Any]:
        """The event with the token counts, which has no choices."""
        return {**self.object(self.chunk_kind, []), "usage": self.usage(last)}

    def object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """What stands around choices."""
        return {
            "id": f"{self.prefix}-{self.key}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def usage(self, last: Delta) -> dict[str, int]:
        """Token counts at the end of the answer."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": last.completion_tokens,
            "total_tokens": self.prompt_tokens + last.completion_tokens,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that fits the context, and what writes its answer. `logprobs`: likeliest tokens, None for none."""

    prompt: list[int]
    max_tokens: int
    logprobs: int | None
    writer: Writer


def check_characters(count: int, asked: SamplingRequest, context: int) -> None:
    """Refuse what cannot fit before it costs anything; errors: ApiError 400."""
    if count > context * CHARACTERS_PER_TOKEN:
        name = asked.prompt_parameter
        raise _too_long(f"'{name}' has {count} characters, far more than fit", name, context)


def check_tokens(count: int, asked: SamplingRequest, context: int) -> None:
    """Whether prompt and answer fit the context; errors: ApiError 400."""
    name = asked.prompt_parameter
    parameter, limit = asked.answer_limit
    if count >= context:
        raise _too_long(f"'{name}' has {count} tokens", name, context)
    if count + (limit or 0) > context:
        raise _too_long(f"'{name}' has {count} tokens and '{parameter}' is {limit}", parameter, context)


def engine_request(asked: SamplingRequest, prepared: Prepared, deliver: Callable[[Delta], None]) -> Request:
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
        logprobs=prepared.logprobs,
    )
    return Request(prepared.prompt, prepared.max_tokens, params, deliver, stop=stop, ignore_end=bool(asked.ignore_eos))


def _temperature(asked: float | None) -> float:
    """OpenAI's default is 1; below 1e-5 the choice is greedy, for float32 cannot divide by less."""
    return 1.0 if asked is None else asked if asked >= 1e-5 else 0.0


def _too_long(what: str, param: str, context: int) -> ApiError:
    return invalid(
        f"{what}, but the model's context is {context} tokens long, prompt and answer together.",
        param=param,
        code="context_length_exceeded",
    )
