"""What benchmarks and integration tests count in the API server's audit log, which grows while they read."""

import json
from pathlib import Path

from tests.integration.audit import requests


def test_every_position_in_the_log_can_be_read_from(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    user = {"username": "system:serviceaccount:a:b"}
    names = ["ü1", "2", "3"]
    entries = [{"user": user, "verb": "get", "objectRef": {"name": name}} for name in names]
    lines = [json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for entry in entries]
    log.write_bytes(b"".join(lines))
    starts = [0, len(lines[0]), len(lines[0] + lines[1])]
    for since in range(log.stat().st_size + 1):
        left = [name for name, start in zip(names, starts, strict=True) if start >= since]
        assert [request.name for request in requests(log, "a:b", since)] == left
    log.write_bytes(b"".join(lines)[:-1])
    assert [request.name for request in requests(log, "a:b")] == names[:2], "the last one is being written"
