"""Who pulls from a registry: an entry of a pull Secret, as the registry wants to be told it (RFC 7235, RFC 6750).

The token protocol is https://distribution.github.io/distribution/spec/auth/token. The password goes to the registry or
to a realm of its own domain alone, and a token is asked for pulling this repository alone, whatever the challenge says.
"""

import base64
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from deepseek_runtime.fetch.addresses import Network
from deepseek_runtime.fetch.transport import Transport, shown
from deepseek_runtime.job.errors import ConfigurationError

_MAX_BODY = 1 << 20
_THREADS = 32
"""More than there are that pull."""
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_DOCKER_HUB = frozenset({"index.docker.io", "docker.io", "registry-1.docker.io"})


class Access:
    """What is sent to a registry. Safe to use from threads."""

    def __init__(
        self, endpoint: str, host: str, repo: str, pull_secret: str | None, allowed: Sequence[Network]
    ) -> None:
        """Errors: ConfigurationError `SecretMissing` where the Secret has no entry for the host."""
        self._endpoint, self._repo, self._allowed = endpoint, repo, allowed
        self._basic = _entry(Path(pull_secret), host) if pull_secret is not None else None
        self._sent: str | None = None
        self._refused, self._most = 0, 1
        self._lock = threading.Lock()

    @property
    def who(self) -> str:
        """For messages."""
        return "the account of pullSecretRef" if self._basic is not None else "nobody (pullSecretRef is absent)"

    def authorization(self) -> str | None:
        """The header, once the registry has said what it wants."""
        return self._sent

    def accepted(self) -> None:
        """The registry took what was sent. From now on many threads may be refused at once when a token expires."""
        with self._lock:
            self._refused, self._most = 0, _THREADS

    def challenged(self, challenge: str, what: str) -> None:
        """Answer a 401: with the password, or with a token, anew where one has expired.

        Errors: TransientError; ConfigurationError `AccessDenied`, `UnsafeRedirect`.
        """
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        with self._lock:
            self._refused += 1
            if self._refused > self._most:
                raise self._denied(what)
            if scheme.lower() == "bearer" and "realm" in parameters:
                self._sent = f"Bearer {self._token(parameters['realm'], parameters.get('service', ''), what)}"
            elif scheme.lower() == "basic" and self._basic is not None:
                self._sent = f"Basic {self._basic}"
            else:
                raise self._denied(what)

    def _token(self, realm: str, service: str, what: str) -> str:
        if self._basic is not None and not self._own(realm):
            raise ConfigurationError(
                "UnsafeRedirect",
                f"{self._endpoint} wants the password of pullSecretRef to be sent to {shown(realm)}, which is not of "
                "its domain. Use a registry that asks itself.",
            )
        basic = f"Basic {self._basic}" if self._basic is not None else None
        query = urlencode({"service": service, "scope": f"repository:{self._repo}:pull"})
        transport = Transport(realm, lambda: basic, self._allowed)
        try:
            with transport.get(f"{realm}{'&' if urlsplit(realm).query else '?'}{query}") as reply:
                if reply.status != 200:
                    raise self._denied(what)
                found = json.loads(reply.text(_MAX_BODY))
        except ValueError as error:
            raise ConfigurationError("InvalidSource", f"{shown(realm)} gives no token. Is it a registry's?") from error
        finally:
            transport.close()
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ConfigurationError("InvalidSource", f"{shown(realm)} gives no token. Is it a registry's?")
        return token

    def _own(self, realm: str) -> bool:
        """Whether a realm is the registry's: its host, or one of the same domain, and not less secret."""
        mine, other = urlsplit(self._endpoint), urlsplit(realm)
        if other.scheme != "https" and other.scheme != mine.scheme:
            return False
        host, parent = other.hostname or "", (mine.hostname or "").partition(".")[2]
        if host == mine.hostname:
            return True
        return (
            "." in parent and not parent.replace(".", "").isdigit() and (host == parent or host.endswith(f".{parent}"))
        )

    def _denied(self, what: str) -> ConfigurationError:
        remedy = "Correct the Secret of pullSecretRef" if self._basic is not None else "Give pullSecretRef"
        return ConfigurationError(
            "AccessDenied",
            f"{self._endpoint} lets {self.who} not pull {what} of {self._repo} (401), or there is no such repository. "
            f"{remedy}, or correct reference.",
        )


def _entry(path: Path, host: str) -> str:
    """The Base64 of `user:password` for a registry, from a Secret of the type kubernetes.io/dockerconfigjson."""
    try:
        auths = json.loads(path.read_text("utf-8"))["auths"]
        names = _DOCKER_HUB if host in _DOCKER_HUB else {host}
        for key, entry in auths.items():
            if (urlsplit(key if "//" in key else f"//{key}").netloc) not in names:
                continue
            if "auth" in entry:
                base64.b64decode(entry["auth"], validate=True).decode().index(":")
                return str(entry["auth"])
            return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            "SecretMissing",
            "The Secret of pullSecretRef is none of the type kubernetes.io/dockerconfigjson. Make one by "
            "`kubectl create secret docker-registry`.",
        ) from error
    raise ConfigurationError(
        "SecretMissing", f"The Secret of pullSecretRef has no entry for {host}. Add one, or name another Secret."
    )
