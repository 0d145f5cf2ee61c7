"""The table at the end of the demonstration."""

import json
from pathlib import Path
from typing import Any

from examples.quickstart.target import target


def table(
    seconds: list[tuple[str, float]],
    models: dict[str, dict[str, Any]],
    runs: dict[str, dict[str, Any]],
    text: Path,
    prompt: str,
    answer: dict[str, Any],
) -> str:
    """Phases with their times, what training reached, both variants, the answer, and what to try next."""
    lines = ["", "phase                                seconds", "-" * 45]
    lines += [f"{name:<36} {value:>7.0f}" for name, value in seconds]
    lines += ["-" * 45, f"{'all':<36} {sum(value for _, value in seconds):>7.0f}", ""]
    stage = runs["pretrain"]["status"]["stages"][0]
    lines.append(
        f"trained {stage['step']} steps in {stage['seconds']:.0f} s at {stage['tokensPerSecond']:.0f} tokens/s, "
        f"last loss {stage['loss']:.3f}"
    )
    status = models["handbook"]["status"]
    parameters = status["architecture"]["parameters"] / 1e6
    lines += [f"{status['architecture']['name']}, {parameters:.2f} M parameters", ""]
    lines.append("variant        bytes  experts' bytes  perplexity  bits per byte (held-out)")
    for artifact in status["artifacts"]:
        quantization, scores = artifact.get("quantization"), artifact["scores"]
        experts = f"{quantization['expertBytesAfter']:,}" if quantization else _expert_bytes(status["artifacts"])
        lines.append(
            f"{artifact['name']:<8} {artifact['bytes']:>11,}  {experts:>14}  {scores['perplexity']:>10.2f}"
            f"  {scores['bitsPerByte']:>13.3f}"
        )
    compressors = json.loads((text / "text.json").read_text())["heldout"]
    for name in ("gzip", "xz"):
        lines.append(f"{name + ' -9':<8} {'':>11}  {'':>14}  {'':>10}  {compressors[name]:>13.3f}")
    lines += ["", f"asked: {prompt!r}", f"answer: {answer['choices'][0]['text']!r}", f"usage: {answer['usage']}", ""]
    lines += [
        "What to try next:",
        *(["  alias kubectl='python3 -m local kubectl'    # `make clean` removes it all"] if target().is_local else []),
        "  kubectl get deepseek -n quickstart",
        "  kubectl describe dsm handbook -n quickstart",
        "  kubectl scale dsis chat -n quickstart --replicas 0",
        "  kubectl port-forward -n deepseek-system service/deepseek-gateway 8080:80 &",
        f'  curl -H "Authorization: Bearer $(cat {text}/key)" http://127.0.0.1:8080/v1/models',
    ]
    return "\n".join(lines)


def shortfall(models: dict[str, dict[str, Any]], text: Path) -> str | None:
    """What to say where a variant of the trained model compresses the held-out text no better than the compressors."""
    heldout = json.loads((text / "text.json").read_text())["heldout"]
    best = min(heldout["gzip"], heldout["xz"])
    scored = {part["name"]: part["scores"]["bitsPerByte"] for part in models["handbook"]["status"]["artifacts"]}
    behind = [f"{name} ({bits:.3f})" for name, bits in scored.items() if bits >= best]
    if not behind:
        return None
    return (
        f"{', '.join(behind)} did not beat {best:.3f} bits per byte of the better compressor: raise until.steps in "
        "training.yaml"
    )


def _expert_bytes(artifacts: list[dict[str, Any]]) -> str:
    for artifact in artifacts:
        if quantization := artifact.get("quantization"):
            return f"{quantization['expertBytesBefore']:,}"
    return ""
