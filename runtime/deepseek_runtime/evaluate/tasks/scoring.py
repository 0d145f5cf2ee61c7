"""How likely a model finds a continuation, and what it goes on with itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.windows import Window
from deepseek_runtime.job.errors import ConfigurationError, DataError


@dataclass(frozen=True, slots=True)
class Likelihood:
    """In nats, and whether each token of the continuation is the likeliest."""

    nats: float
    greedy: bool


def window(tokenizer: Tokenizer, bos: int, longest: int, context: str, continuation: str) -> Window:
    """A continuation after its context; a context that is too long loses its beginning.

    White space at the context's end is the continuation's, for that is how tokens are cut (lm-evaluation-harness).
    Errors: DataError `ContextTooLong`.
    """
    if context:
        whole, before = tokenizer.encode(context + continuation).ids, tokenizer.encode(context.rstrip()).ids
        if not before:
            whole, before = [bos, *whole], [bos]
        after = whole[len(before) :]
    else:
        before, after = [bos], tokenizer.encode(continuation, add_special_tokens=False).ids
        if after[:1] == [bos]:
            after = after[1:]
    if not 0 < len(after) <= longest:
        raise DataError("BadTask", f"The continuation {continuation[:80]!r} has {len(after)} tokens of its own.")
    tokens = [*before, *after][-(longest + 1) :]
    return Window(tokens[:-1], tokens[1:], len(tokens) - 1 - len(after))


@torch.inference_mode()
def likelihoods(model: PreTrainedModel, windows: Sequence[Window], done: Callable[[int], None]) -> list[Likelihood]:
    """Of each window's scored tokens. Long windows go first, as many at once as perplexity.BATCH_TOKENS allows."""
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index].tokens))
    found: dict[int, Likelihood] = {}
    while len(found) < len(windows):
        left = order[len(found) :]
        group = left[: max(1, perplexity.BATCH_TOKENS // len(windows[left[0]].tokens))]
        states = perplexity.last_states(model, [windows[index] for index in group])
        for index, part in zip(group, torch.split(states, [windows[index].scored for index in group]), strict=True):
            found[index] = _likelihood(model, part, windows[index].targets[windows[index].first :])
        done(len(found))
    if any(each.nats != each.nats for each in found.values()):
        raise DataError("NotFinite", "The model's predictions are NaN. Train or copy the model again.")
    return [found[index] for index in range(len(windows))]


def _likelihood(model: PreTrainedModel, states: torch.Tensor, wanted: Sequence[int]) -> Likelihood:
    at_once = max(1, perplexity.LOGITS // model.config.vocab_size)
    nats, greedy = 0.0, True
    for begin in range(0, len(states), at_once):
        logits = model.lm_head(states[begin : begin + at_once]).float()
        targets = torch.tensor(wanted[begin : begin + at_once], device=logits.device)
        nats += float(logits.log_softmax(-1).gather(1, targets[:, None]).double().sum())
        greedy = greedy and bool((logits.argmax(-1) == targets).all())
    return Likelihood(nats, greedy)


@torch.inference_mode()
def generate(
    model: PreTrainedModel, tokenizer: Tokenizer, prompt: str, most: int, until: Sequence[str], ends: frozenset[int]
) -> str:
    """Greedy tokens as text, cut before the first of `until`; a prompt that is too long loses its beginning.

    Errors: ConfigurationError `ContextTooLong` where the answer alone fills the model's context.
    """
    longest: int = model.config.max_position_embeddings
    room = longest - most
    if room <= 0:
        raise ConfigurationError(
            "ContextTooLong",
            f"generation_kwargs.max_gen_toks is {most}; the model has {longest}. Ask for fewer.",
        )
    tokens = tokenizer.encode(prompt).ids[-room:] or [model.config.bos_token_id]
    answer: list[int] = []
    cache, given = None, tokens
    text = ""
    while len(answer) < most:
        out = model(
            input_ids=torch.tensor([given], device=model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, token = out.past_key_values, int(out.logits[0, -1].argmax())
        if token in ends:
            break
        answer.append(token)
        given, text = [token], tokenizer.decode(answer, skip_special_tokens=True)
        if any(end in text for end in until):
            break
    for end in until:
        text = text.split(end)[0]
    return text
