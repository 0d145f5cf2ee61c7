"""`POST /v1/completions`: the parameters that engines honour, their types and ranges. Everything else is refused.

What chat completions have, too, is in `SamplingRequest`. Source: OpenAI API reference, "Create completion"; top_k,
repetition_penalty and ignore_eos as in vLLM.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepseek_runtime.gateway.openai.errors import invalid

Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
StopText = Annotated[str, Field(min_length=1, max_length=512)]


class Strict(BaseModel):
    """No conversions, and nothing that is not declared."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(Strict):
    """With `include_usage` the last event before [DONE] carries the token counts."""

    include_usage: bool = False


class SamplingRequest(Strict):
    """What both endpoints take. null counts as absent, as in OpenAI's API."""

    endpoint: ClassVar[str]
    prompt_parameter: ClassVar[str]
    sentences: ClassVar[Mapping[str, str]]
    """What to say of a parameter, where its type says too little."""
    neutral: ClassVar[frozenset[str]]
    """Taken with the one value that changes nothing, and left out of what is forwarded."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    n: Literal[1] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's caller asked for the usage event."""
        return self.stream_options is not None and self.stream_options.include_usage

    def forwarded(self, served_name: str) -> bytes:
        """The request written anew for the engine, under the engine's own model name. Usage is always asked for."""
        fields = self.model_dump(exclude_none=True, exclude={"stream_options", *self.neutral})
        fields["model"] = served_name
        if self.stream:
            fields["stream_options"] = {"include_usage": True}
        return orjson.dumps(fields)

    def parameters(self) -> dict[str, Any]:
        """What the audit record says of the request: everything but content."""
        content = {"model", "stop", "stream_options", self.prompt_parameter}
        recorded = self.model_dump(exclude_none=True, exclude=content | self.neutral)
        if self.stop is not None:
            recorded["stop_sequences"] = 1 if isinstance(self.stop, str) else len(self.stop)
        return recorded

    def inconsistency(self) -> tuple[str, str] | None:
        """A parameter that does not go with another, and what to say of it."""
        if self.stream_options is not None and not self.stream:
            return "stream_options", "is only allowed when 'stream' is true"
        return None

    @property
    def answer_limit(self) -> tuple[str, int | None]:
        """How many tokens the answer may have, and the parameter that says it."""
        return "max_tokens", self.max_tokens

    @property
    def known_prompt_tokens(self) -> int:
        """Of the prompt, as far as they are known before tokenizing."""
        return 0


SENTENCES = {
    "n": "must be 1: one answer is made for each request",
    "logit_bias": "must be empty: the engines have no bias for single tokens",
    "stop": "must be a string or a list of at most 4 strings, each of 1 to 512 characters",
}


class CompletionRequest(SamplingRequest):
    """A parsed request for a text that goes on."""

    endpoint = "/v1/completions"
    prompt_parameter = "prompt"
    sentences: ClassVar = {
        **SENTENCES,
        "best_of": "must be 1: one answer is made for each request",
        "echo": "must be false: the prompt is not repeated",
        "suffix": "must be absent: the engines do not insert text",
        "prompt": "must be one string or a list of token ids; several prompts need several requests",
    }
    neutral = frozenset({"n", "best_of", "echo", "logit_bias", "suffix"})

    prompt: str | Annotated[list[TokenId], Field(min_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    suffix: Annotated[str, Field(max_length=0)] | None = None

    def parameters(self) -> dict[str, Any]:
        """As SamplingRequest's, with the prompt's length."""
        name = "prompt_characters" if isinstance(self.prompt, str) else "prompt_tokens"
        return {**super().parameters(), name: len(self.prompt)}

    @property
    def known_prompt_tokens(self) -> int:
        """Their number, where the prompt is given in tokens."""
        return 0 if isinstance(self.prompt, str) else len(self.prompt)


R = TypeVar("R", bound=SamplingRequest)


def parse(kind: type[R], document: dict[str, Any]) -> R:
    """Check a request; errors: ApiError 400, naming the parameter."""
    try:
        request = kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = str(first["loc"][0])[:64]
        sentence = _sentence(kind, first["type"], param, first["loc"], first["msg"])
        raise invalid(sentence, param=param) from None
    if found := request.inconsistency():
        param, sentence = found
        raise invalid(f"'{param}' {sentence}.", param=param)
    return request


def check_length(request: SamplingRequest, context_length: int) -> None:
    """What can be known before tokenizing: the answer, with a prompt of token ids, must fit; errors: ApiError 400."""
    prompt = request.known_prompt_tokens
    parameter, limit = request.answer_limit
    if prompt >= context_length:
        raise invalid(
            f"'prompt' has {prompt} tokens, and the model's context is {context_length} tokens long.",
            param="prompt",
            code="context_length_exceeded",
        )
    if limit is not None and prompt + limit > context_length:
        raise invalid(
            f"'{parameter}' is {limit} and the prompt has {prompt or 'its own'} tokens, but the model's "
            f"context is {context_length} tokens long, prompt and answer together.",
            param=parameter,
            code="context_length_exceeded",
        )


def _sentence(request: type[SamplingRequest], kind: str, param: str, where: tuple[int | str, ...], message: str) -> str:
    path = ".".join(str(part)[:64] for part in where)
    if kind == "missing":
        return f"'{path}' is required."
    if kind == "extra_forbidden":
        return f"'{path}' is not a parameter of this endpoint."
    name = where[-1] if param == request.prompt_parameter and where[-1] in request.sentences else param
    if sentence := request.sentences.get(str(name)):
        return f"'{path if name != param else param}' {sentence}."
    return f"'{param}' is not acceptable: {message}."
