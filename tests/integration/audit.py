"""What the API server's audit log says of one ServiceAccount."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One request."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def write(self) -> bool:
        """Whether it changed something, other than the lease that is renewed all the time."""
        return self.verb in WRITES and self.resource != "leases"


def requests(log: Path, account: str, since: int = 0) -> list[Request]:
    """The requests of a ServiceAccount (`namespace:name`) from a position in the log on, impersonated ones left out.

    A line that was half written at that position came before it; one that is half written now is left for later.
    """
    user = f'"username":"system:serviceaccount:{account}"'.encode()
    with log.open("rb") as lines:
        if since:
            lines.seek(since - 1)
            lines.readline()
        entries = [json.loads(line) for line in lines if user in line and line.endswith(b"\n")]
    return [_request(entry) for entry in entries if "impersonatedUser" not in entry]


def _request(entry: dict[str, Any]) -> Request:
    subject = entry.get("objectRef") or {}
    return Request(
        verb=entry["verb"],
        group=subject.get("apiGroup", ""),
        resource="/".join(part for part in (subject.get("resource"), subject.get("subresource")) if part),
        namespace=subject.get("namespace", ""),
        name=subject.get("name", ""),
        code=(entry.get("responseStatus") or {}).get("code", 0),
    )
