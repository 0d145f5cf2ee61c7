"""A mixture-of-experts model of some ten thousand parameters that has really learned its text."""

from pathlib import Path

import torch
from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import activations
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_model
from torch.nn import functional

from tests.unit.tiny import TEXT, Reports, build_job

LENGTH = 32


def train(directory: Path, architecture: str = "DeepSeekV3") -> Path:
    """Random weights, then some seconds of AdamW; sealed. Beside it lie `text.txt` and `heldout.txt`."""
    widths = {"moe_intermediate_size": 32, "intermediate_size": 64} if architecture != "Llama" else {}
    scratch.run(build_job(directory, architecture, **widths), Reports())
    base, trained = directory / "volume" / "artifact", directory / "trained"
    ids = torch.tensor(perplexity.load_tokenizer(base).encode(TEXT, add_special_tokens=False).ids)
    model = load_model(base, torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(120):
        starts = torch.randint(len(ids) - LENGTH - 1, (8,), generator=generator)
        rows = torch.stack([ids[at : at + LENGTH + 1] for at in starts])
        logits = model(rows[:, :-1]).logits
        optimizer.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimizer.step()
    model.save_pretrained(trained)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (trained / name).write_bytes((base / name).read_bytes())
    manifest.write(trained)
    lines = TEXT.splitlines(keepends=True)
    (directory / "heldout.txt").write_text("".join(lines[::-7]), "utf-8")
    return trained


def nats(directory: Path, text: Path) -> float:
    """For each token of a text, as the evaluation measures it."""

    model = load_model(directory, torch.float32)
    activations.install(model, directory)
    documents = perplexity.read_documents(perplexity.load_tokenizer(directory), [text], None)
    scores = perplexity.measure(model, documents, LENGTH, Reports())
    return float(torch.tensor(scores.perplexity, dtype=torch.float64).log())
