"""What the compute image runs: `python -m deepseek_runtime [job|serve|cache] [FILE]`."""

import argparse
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from deepseek_runtime.wire.base import VERSION
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.paths import (
    CACHE_ENVIRONMENT,
    JOB_ENVIRONMENT,
    SERVE_ENVIRONMENT,
    STATUS_PORT,
    TERMINATION_LOG,
)

DESCRIPTION = """\
Run one Job, an engine, or what keeps a copy on a node. In a cluster the configuration is in the environment; without
one it is a JSON file:

  {"kind": "build", "architecture": "Llama", "config": {"hidden_size": 64, ...},
   "tokenizer": {"vocabSize": 512, "text": ["text.txt"]}, "output": "model"}
  {"kind": "quantize", "scheme": "int8", "input": "model/artifact", "output": "model-int8"}
  {"kind": "export", "type": "q8_0", "input": "model/artifact", "output": "model-gguf"}
  {"kind": "export", "format": "onnx", "type": "int8", "input": "model/artifact", "output": "model-onnx",
   "calibration": {"text": ["text.txt"]}}
  {"kind": "evaluate", "input": "model-int8/artifact", "output": "scores",
   "text": ["heldout.txt"], "contextLength": 256}
  {"kind": "compare", "input": "model-int8/artifact", "base": "model/artifact", "output": "scores",
   "text": ["heldout.txt"], "contextLength": 256}
  {"kind": "longcontext", "input": "model-int8/artifact", "output": "scores", "text": ["heldout.txt"],
   "tokens": 4096, "contextLength": 256, "windows": 4}
  {"kind": "task", "input": "model-int8/artifact", "output": "scores", "folder": "tasks", "file": "task.yaml"}
  {"kind": "benchmark", "input": "model-int8/artifact", "output": "scores", "promptTokens": 128, "outputTokens": 64}
  {"kind": "publish", "input": "run/stages/pretrain/artifact", "output": "published"}

`owner`, `identity` and digests are worked out where a file leaves them out. The result is OUTPUT/result.json
(evaluate, compare, longcontext, task, benchmark: OUTPUT/<identity>/result.json); the same file run again finds it.
For serve:

  {"owner": "local", "servedName": "chat", "model": "model-int8/artifact"}

For cache, which copies a sealed model to a faster disk and keeps it there until it is told to stop:

  {"keeper": "me", "digest": "4f0c...", "capacity": 100000000000, "input": "model/artifact", "cache": "/fast"}
"""

_VARIABLES = {"job": JOB_ENVIRONMENT, "serve": SERVE_ENVIRONMENT, "cache": CACHE_ENVIRONMENT}

EXIT_CODES = "exit codes: " + ", ".join(f"{code.value} {code.name}" for code in ExitCode)


def main(arguments: list[str] | None = None) -> int:
    """Read where the configuration is, and run it; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m deepseek_runtime",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=tuple(_VARIABLES), default="job", help="default: job")
    parser.add_argument("file", nargs="?", type=Path, help=f"JSON; absent: ${' or $'.join(_VARIABLES.values())}")
    parser.add_argument("--status-port", type=int, default=STATUS_PORT, help="of a Job; 0: any (default: %(default)s)")
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path(TERMINATION_LOG),
        help="written if it exists (default: %(default)s)",
    )
    options = parser.parse_intermixed_args(arguments)  # options between the two words as well
    variable = _VARIABLES[options.what]
    try:
        text = options.file.read_text("utf-8") if options.file else os.environ[variable]
    except KeyError:
        return _refuse(f"{variable} is not set, and no FILE is given; see --help.")
    except (OSError, UnicodeDecodeError) as error:
        return _refuse(f"{options.file} cannot be read: {error}.")
    if options.what == "serve":
        return _serve(text)
    if options.what == "cache":
        return _cache(text, options.termination_log)
    return _job(text, options.file is not None, options.status_port, options.termination_log)


def _job(text: str, standalone: bool, port: int, termination_log: Path) -> int:
    from deepseek_runtime.job import run
    from deepseek_runtime.job.errors import JobError
    from deepseek_runtime.job.standalone import complete

    if standalone:
        try:
            text = complete(text)
        except JobError as error:
            return _refuse(error.message, error.code)
    return run.main(text, port=port, termination_log=termination_log)


def _serve(text: str) -> int:
    from deepseek_runtime.serve import server
    from deepseek_runtime.wire.serve import ServeConfig

    try:
        config = ServeConfig.model_validate_json(text, extra="forbid")
    except ValidationError as error:
        return _refuse(f"The engine's configuration is not valid: {error}")
    return _refuse(_newer("engine", config.version)) if config.version > VERSION else server.main(config)


def _cache(text: str, termination_log: Path) -> int:
    from deepseek_runtime.nodecache import keeper
    from deepseek_runtime.wire.node_cache import CacheConfig

    try:
        config = CacheConfig.model_validate_json(text, extra="forbid")
    except ValidationError as error:
        return _refuse(f"The cache's configuration is not valid: {error}")
    if config.version > VERSION:
        return _refuse(_newer("cache", config.version))
    return keeper.main(config, termination_log=termination_log)


def _newer(what: str, version: int) -> str:
    return (
        f"The {what}'s configuration is written in version {version}, this runtime reads up to {VERSION}. "
        "Use a runtime image as new as the operator."
    )


def _refuse(message: str, code: ExitCode = ExitCode.CONFIGURATION) -> int:
    sys.stderr.write(message + "\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
