"""`POST /v1/completions`: the parameters that engines honour, their types and ranges. Everything else is refused.

Source: OpenAI API reference, "Create completion"; top_k, repetition_penalty and ignore_eos as in vLLM.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepseek_runtime.gateway.openai.errors import invalid

Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
StopText = Annotated[str, Field(min_length=1, max_length=512)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(_Strict):
    """With `include_usage` the last event before [DONE] carries the token counts."""

    include_usage: bool = False


class CompletionRequest(_Strict):
    """A parsed request. null counts as absent, as in OpenAI's API."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: str | Annotated[list[TokenId], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    # Only their neutral values: they are checked, then left out of what is forwarded.
    n: Literal[1] | None = None
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    suffix: Annotated[str, Field(max_length=0)] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's caller asked for the usage event."""
        return self.stream_options is not None and self.stream_options.include_usage

    def forwarded(self, served_name: str) -> bytes:
        """The request written anew for the engine, under the engine's own model name. Usage is always asked for."""
        fields = self.model_dump(exclude_none=True, exclude=_NOT_FORWARDED)
        fields["model"] = served_name
        if self.stream:
            fields["stream_options"] = {"include_usage": True}
        return orjson.dumps(fields)

    def parameters(self) -> dict[str, Any]:
        """What the audit record says of the request: everything but content."""
        recorded = self.model_dump(exclude_none=True, exclude=_NOT_RECORDED)
        recorded["prompt_characters" if isinstance(self.prompt, str) else "prompt_tokens"] = len(self.prompt)
        if self.stop is not None:
            recorded["stop_sequences"] = 1 if isinstance(self.stop, str) else len(self.stop)
        return recorded


_NEUTRAL = {
    "n": "must be 1: one answer is made for each request",
    "best_of": "must be 1: one answer is made for each request",
    "echo": "must be false: the prompt is not repeated",
    "logit_bias": "must be empty: the engines have no bias for single tokens",
    "suffix": "must be absent: the engines do not insert text",
}
_NOT_FORWARDED = {"model", "stream_options", *_NEUTRAL}
_NOT_RECORDED = {"model", "prompt", "stop", "stream_options", *_NEUTRAL}


def parse(document: dict[str, Any]) -> CompletionRequest:
    """Check a request; errors: ApiError 400, naming the parameter."""
    try:
        request = CompletionRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = str(first["loc"][0])[:64]
        raise invalid(_sentence(first["type"], param, first["loc"], first["msg"]), param=param) from None
    if request.stream_options is not None and not request.stream:
        raise invalid("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    return request


def check_length(request: CompletionRequest, context_length: int) -> None:
    """What can be known before tokenizing: the answer, with a prompt of token ids, must fit; errors: ApiError 400."""
    prompt = 0 if isinstance(request.prompt, str) else len(request.prompt)
    if prompt >= context_length:
        raise invalid(
            f"'prompt' has {prompt} tokens, and the model's context is {context_length} tokens long.",
            param="prompt",
            code="context_length_exceeded",
        )
    if request.max_tokens is not None and prompt + request.max_tokens > context_length:
        raise invalid(
            f"'max_tokens' is {request.max_tokens} and the prompt has {prompt or 'its own'} tokens, but the model's "
            f"context is {context_length} tokens long, prompt and answer together.",
            param="max_tokens",
            code="context_length_exceeded",
        )


def _sentence(kind: str, param: str, where: tuple[int | str, ...], message: str) -> str:
    if kind == "missing":
        return f"'{param}' is required."
    if kind == "extra_forbidden":
        return f"'{'.'.join(str(part)[:64] for part in where)}' is not a parameter of this endpoint."
    if param in _NEUTRAL:
        return f"'{param}' {_NEUTRAL[param]}."
    if param == "prompt":
        return "'prompt' must be one string or a list of token ids; several prompts need several requests."
    if param == "stop":
        return "'stop' must be a string or a list of at most 4 strings, each of 1 to 512 characters."
    return f"'{param}' is not acceptable: {message}."
