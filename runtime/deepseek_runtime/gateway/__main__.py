"""`python -m deepseek_runtime.gateway [serve | keys create … | audit verify DIR]`."""

import argparse
import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from deepseek_runtime.gateway import keys
from deepseek_runtime.gateway.audit.verify import replica_directories, verify
from deepseek_runtime.gateway.server import serve
from deepseek_runtime.gateway.settings import SettingsError, from_environment


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the audit log is broken, 2 wrong use, 64 wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m deepseek_runtime.gateway", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="run the gateway; settings come from the environment (the default)")
    key_commands = commands.add_parser("keys", help="API keys").add_subparsers(dest="action", required=True)
    create = key_commands.add_parser("create", help="print a new key and the ConfigMap that makes it valid")
    create.add_argument("--namespace", required=True, help="where the ConfigMap and the ServiceAccount are")
    create.add_argument("--name", required=True, help="of the key, and of its ConfigMap")
    create.add_argument("--service-account", required=True, help="whose permissions the key has")
    create.add_argument("--expires", default="90d", type=_duration, help="90d, 12h, 30m, 60s (default: 90d)")
    create.add_argument("--output", choices=["yaml", "json"], default="yaml")
    audit_commands = commands.add_parser("audit", help="the audit log").add_subparsers(dest="action", required=True)
    check = audit_commands.add_parser("verify", help="is the log whole, and was every request finished?")
    check.add_argument("directory", type=Path, help="of one replica, or of all")
    parsed = parser.parse_args(arguments)
    if parsed.command == "keys":
        return _create_key(parser, parsed)
    if parsed.command == "audit":
        return _verify(parser, parsed.directory)
    return _serve()


def _duration(text: str) -> object:
    try:
        return keys.duration(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _create_key(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> int:
    try:
        key, manifest = keys.create(
            parsed.namespace, parsed.name, parsed.service_account, parsed.expires, datetime.now(UTC)
        )
    except (ValueError, OverflowError) as error:
        parser.error(str(error))
    if parsed.output == "json":
        _print(json.dumps({"key": key, "manifest": manifest}))
    else:
        _print(keys.to_yaml(manifest))
        sys.stderr.write(f"The key, shown this once (it works when the manifest is applied):\n{key}\n")
    return 0


def _verify(parser: argparse.ArgumentParser, directory: Path) -> int:
    try:
        reports = [verify(each) for each in replica_directories(directory)]
    except OSError as error:
        parser.error(str(error))
    for report in reports:
        for line in report.lines():
            _print(line)
    return 1 if any(report.problems for report in reports) else 0


def _serve() -> int:
    try:
        settings = from_environment()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 64
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(settings))
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
