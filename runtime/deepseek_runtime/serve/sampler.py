"""From logits to tokens: penalties, temperature, nucleus and top-k, each request by its own random generator."""

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What a request asked for; `temperature` 0 is greedy, `top_k` 0 is no limit.

    `frequency_penalty` and `presence_penalty` count generated tokens, as OpenAI defines them; `repetition_penalty`
    counts those of the prompt too (arXiv:1909.05858). `logprobs`: alternatives to report, None: nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    logprobs: int | None = None

    @property
    def penalized(self) -> bool:
        """Whether any penalty changes logits."""
        return bool(self.frequency_penalty or self.presence_penalty or self.repetition_penalty != 1.0)

    def generator(self) -> torch.Generator | None:
        """A generator of the request's own, so that its tokens do not depend on what shares its batches."""
        if self.temperature == 0:
            return None
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Natural logarithms of the model's own probabilities, before penalties and temperature."""

    chosen: float
    top: dict[int, float]


class Row(Protocol):
    """A request whose next token is wanted."""

    params: SamplingParams
    generator: torch.Generator | None

    @property
    def prompt(self) -> list[int]:
        """Tokens that were given."""
        ...

    @property
    def output(self) -> list[int]:
        """Tokens that were generated."""
        ...


@torch.inference_mode()
def sample(logits: torch.Tensor, rows: list[Row]) -> tuple[list[int], list[Logprobs | None]]:
    """One token for each row of logits (rows, vocabulary), fp32; they are not changed."""
    penalized = _penalize(logits, rows)
    tokens = penalized.argmax(-1)
    random = [i for i, row in enumerate(rows) if row.params.temperature > 0]
    if random:
        tokens[random] = _draw(penalized[random], [rows[i] for i in random])
    chosen: list[int] = tokens.tolist()
    return chosen, _logprobs(logits, rows, chosen)


def _penalize(logits: torch.Tensor, rows: list[Row]) -> torch.Tensor:
    if not any(row.params.penalized for row in rows):
        return logits
    logits = logits.clone()
    for scores, row in zip(logits, rows, strict=True):
        p = row.params
        if p.repetition_penalty != 1.0:
            seen = torch.tensor(sorted({*row.prompt, *row.output}), device=logits.device)
            values = scores[seen]
            scores[seen] = torch.where(values > 0, values / p.repetition_penalty, values * p.repetition_penalty)
        if row.output and (p.frequency_penalty or p.presence_penalty):
            output = torch.tensor(row.output, device=logits.device)
            counts = torch.bincount(output, minlength=len(scores)).to(scores.dtype)
            scores -= counts * p.frequency_penalty + (counts > 0) * p.presence_penalty
    return logits


def _draw(logits: torch.Tensor, rows: list[Row]) -> torch.Tensor:
    """An exponential race: argmax of p / e with e ~ Exp(1) is a draw from p; the noise is each row's own."""
    device, vocabulary = logits.device, logits.shape[1]
    logits = logits / torch.tensor([row.params.temperature for row in rows], device=device)[:, None]
    top_k = torch.tensor([row.params.top_k or vocabulary for row in rows], device=device)[:, None]
    top_p = torch.tensor([row.params.top_p for row in rows], device=device)[:, None]
    if any(row.params.top_k or row.params.top_p < 1.0 for row in rows):
        values, order = logits.sort(stable=True, dim=-1, descending=True)
        cut = torch.arange(vocabulary, device=device) >= top_k
        probabilities = values.masked_fill(cut, float("-inf")).softmax(-1)
        # A row without top_p keeps all: its rounded sum may reach 1 before the end.
        cut |= (probabilities.cumsum(-1) - probabilities >= top_p) & (top_p < 1.0)
        cut[:, 0] = False
        logits = torch.empty_like(logits).scatter_(1, order, values.masked_fill(cut, float("-inf")))
    noise = torch.stack([torch.empty(vocabulary).exponential_(generator=row.generator) for row in rows]).to(device)
    return (logits.softmax(-1) / noise).argmax(-1)


def _logprobs(logits: torch.Tensor, rows: list[Row], tokens: list[int]) -> list[Logprobs | None]:
    result: list[Logprobs | None] = [None] * len(rows)
    for i, row in enumerate(rows):
        if row.params.logprobs is None:
            continue
        values = logits[i].log_softmax(-1)
        top = values.topk(row.params.logprobs)
        alternatives = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        result[i] = Logprobs(values[tokens[i]].item(), alternatives)
    return result
