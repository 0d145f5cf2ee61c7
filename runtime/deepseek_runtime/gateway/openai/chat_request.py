"""`POST /v1/chat/completions`: the parameters that engines honour, and messages of text. Everything else is refused.

Source: OpenAI API reference, "Create chat completion".
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_serializer

from deepseek_runtime.gateway.openai.request import SENTENCES, SamplingRequest, Strict

Role = Literal["system", "user", "assistant"]


class TextPart(Strict):
    """One piece of a message's text."""

    type: Literal["text"]
    text: str


_PARTS = TypeAdapter(list[TextPart])


class Message(Strict):
    """Who says what. Parts are put together, `developer` is the newer name of `system`."""

    role: Role
    content: str
    # What an answer of this API has beside, so that it can be sent back as it came.
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    parsed: None = None  # added by OpenAI's client
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _newer_name(cls, value: object) -> object:
        return "system" if value == "developer" else value

    @field_validator("content", mode="before")
    @classmethod
    def _in_one(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        try:
            return "".join(part.text for part in _PARTS.validate_python(value))
        except ValidationError:
            raise ValueError from None  # of the whole content: what is said of it names the parts there are

    @model_serializer
    def plain(self) -> dict[str, str]:
        """As it is forwarded, and as chat templates take it."""
        return {"role": self.role, "content": self.content}


class ResponseFormat(Strict):
    """Text, the only one there is."""

    type: Literal["text"]


class ChatRequest(SamplingRequest):
    """A parsed request for the next message of a conversation."""

    endpoint = "/v1/chat/completions"
    prompt_parameter = "messages"
    sentences: ClassVar = {
        **SENTENCES,
        "messages": "must be a list of 1 to 4096 messages, each with a role and a content",
        "role": "must be system, developer, user or assistant; messages of tools are not supported",
        "content": "must be a string or a list of {'type': 'text', 'text': …}; images and files are not supported",
        "tool_calls": "must be absent: the engines call no tools",
        "tools": "must be empty: the engines call no tools",
        "tool_choice": "must be 'none': the engines call no tools",
        "response_format": "must be {'type': 'text'}: the engines do not constrain an answer's form",
    }
    neutral = frozenset({"n", "logit_bias", "tools", "tool_choice", "response_format", "store"})

    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none"] | None = None
    response_format: ResponseFormat | None = None
    store: Literal[False] | None = None

    def inconsistency(self) -> tuple[str, str] | None:
        """As SamplingRequest's."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            return "max_tokens", "is the older name of 'max_completion_tokens': give one of them"
        if self.top_logprobs is not None and not self.logprobs:
            return "top_logprobs", "is only allowed when 'logprobs' is true"
        return super().inconsistency()

    def parameters(self) -> dict[str, Any]:
        """As SamplingRequest's, with how many messages there are and how long they are together."""
        return {
            **super().parameters(),
            "messages": len(self.messages),
            "message_characters": sum(len(message.content) for message in self.messages),
        }

    @property
    def answer_limit(self) -> tuple[str, int | None]:
        """max_completion_tokens, or max_tokens, its older name."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return super().answer_limit
