"""The step loop: schedule, compute, sample, and turn tokens into text that can be shown."""

import time
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from deepseek_runtime.serve.detokenize import Detokenizer, StopMatcher
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.sampler import Logprobs, SamplingParams, sample
from deepseek_runtime.serve.scheduler import Scheduler, Sequence

FinishReason = Literal["stop", "length"]


class TextCodec(Protocol):
    """What the engine needs of a tokenizer."""

    end: frozenset[int]

    def decode(self, tokens: abc.Sequence[int]) -> str:
        """Text of tokens."""
        ...

    def name(self, token: int) -> str:
        """What logprobs call a token."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A generated token with its logprobs; `offset` is where in the answer its text begins, in characters."""

    name: str
    offset: int
    logprob: float
    top: dict[str, float]


@dataclass(frozen=True, slots=True)
class Delta:
    """What a step added to an answer. `completion_tokens` counts every generated token, the end token included."""

    text: str
    scored: tuple[ScoredToken, ...]
    completion_tokens: int
    finish_reason: FinishReason | None


@dataclass(eq=False, slots=True)
class Request:
    """One prompt on its way; `deliver` gets every delta, on the engine's thread."""

    prompt: list[int]
    max_tokens: int
    params: SamplingParams
    deliver: Callable[[Delta], None]
    stop: tuple[str, ...] = ()
    ignore_end: bool = False
    arrived: float = field(default_factory=time.monotonic)
    sequence: Sequence = field(init=False)
    generator: torch.Generator | None = field(init=False)

    def __post_init__(self) -> None:
        self.sequence = Sequence(self.prompt, self.max_tokens)
        self.generator = self.params.generator()

    @property
    def output(self) -> list[int]:
        """What was generated so far."""
        return self.sequence.output


class _Answer:
    """The text side of a request: what is shown, what is held back, and which scored tokens wait with it."""

    def __init__(self, request: Request, codec: TextCodec) -> None:
        self.request = request
        self.last = request.arrived  # when its last token came
        self._codec = codec
        self._detokenizer = Detokenizer(codec.decode)
        self._matcher = StopMatcher(request.stop)
        self._decoded = 0  # characters that were decoded, the stop string among them
        self._shown = 0
        self._scored: list[ScoredToken] = []

    def push(self, token: int, logprobs: Logprobs | None) -> Delta | None:
        """The delta after one more token (already in the request's sequence); None while nothing is certain."""
        request = self.request
        ended = token in self._codec.end and not request.ignore_end
        if logprobs is not None and not ended:
            names = {self._codec.name(other): value for other, value in logprobs.top.items()}
            self._scored.append(ScoredToken(self._codec.name(token), self._decoded, logprobs.chosen, names))
        text = "" if ended else self._detokenizer.push(token)
        self._decoded += len(text)
        shown, stopped = self._matcher.push(text)
        reason: FinishReason | None = "stop" if ended or stopped else None
        if reason is None and len(request.sequence.tokens) == request.sequence.limit:
            reason = "length"
        if reason is not None and not stopped:
            rest, stopped = self._matcher.push(self._detokenizer.flush())
            if stopped:  # the stop string ended in an incomplete character
                reason = "stop"
            shown += rest if stopped else rest + self._matcher.flush()
        if not shown and reason is None:
            return None
        self._shown += len(shown)
        return Delta(
            shown, self._take_scored(everything=reason is not None and not stopped), len(request.output), reason
        )

    def _take_scored(self, *, everything: bool) -> tuple[ScoredToken, ...]:
        """Tokens that begin in the text shown so far: none of a stop string."""
        count = len(self._scored) if everything else sum(token.offset < self._shown for token in self._scored)
        taken, self._scored = self._scored[:count], self._scored[count:]
        return tuple(taken)


class Engine:
    """Requests in, deltas out, one `step` at a time; used by one thread alone."""

    def __init__(
        self, scheduler: Scheduler, forward: Callable[[Plan], torch.Tensor], codec: TextCodec, metrics: Metrics
    ) -> None:
        """`forward` gives the logits (emitting rows, vocabulary) of a plan, in fp32."""
        self.scheduler = scheduler
        self.metrics = metrics
        self._forward = forward
        self._codec = codec
        self._answers: dict[Sequence, _Answer] = {}

    def add(self, request: Request) -> None:
        """Queue a request; its prompt and answer must fit `scheduler.capacity`."""
        self.scheduler.add(request.sequence)
        self._answers[request.sequence] = _Answer(request, self._codec)
        self.metrics.observe_queue(self.scheduler)

    def cancel(self, request: Request) -> None:
        """Forget a request wherever it is; harmless for one that has finished."""
        if self._answers.pop(request.sequence, None) is not None:
            self.scheduler.remove(request.sequence)
            self.metrics.finished("cancelled", request.arrived, time.monotonic())
            self.metrics.observe_queue(self.scheduler)

    def step(self) -> bool:
        """Compute one iteration and deliver what it gives; False when there is nothing to do."""
        step = self.scheduler.schedule()
        if step is None:
            return False
        self.metrics.observe_queue(self.scheduler)
        logits = self._forward(step.plan)
        if step.emit:
            answers = [self._answers[sequence] for sequence in step.emit]
            tokens, logprobs = sample(logits, [answer.request for answer in answers])
            now = time.monotonic()
            for answer, token, scores in zip(answers, tokens, logprobs, strict=True):
                self._accept(answer, token, scores, now)
        self.metrics.stepped(len(step.plan.tokens), len(step.emit))
        return True

    def _accept(self, answer: _Answer, token: int, logprobs: Logprobs | None, now: float) -> None:
        request = answer.request
        self.metrics.token(now - answer.last, first=not request.output)
        answer.last = now
        request.sequence.tokens.append(token)
        delta = answer.push(token, logprobs)
        if delta is None:
            return
        if delta.finish_reason is not None:
            del self._answers[request.sequence]
            self.scheduler.remove(request.sequence)
            self.metrics.finished(delta.finish_reason, request.arrived, now)
            self.metrics.observe_queue(self.scheduler)
        request.deliver(delta)
