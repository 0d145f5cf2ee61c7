"""Somebody whose identity is proven."""

from dataclasses import dataclass

_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Caller:
    """A Kubernetes user. `key` is `namespace/name` of the API key, where one was shown."""

    user: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    key: str | None = None
    stale: bool = False  # proven before the API server became unreachable

    @property
    def namespace(self) -> str | None:
        """A service account's own namespace: that of models named without one."""
        if not self.user.startswith(_SERVICE_ACCOUNT):
            return None
        return self.user.removeprefix(_SERVICE_ACCOUNT).partition(":")[0] or None


def service_account(namespace: str, name: str, key: str, *, stale: bool = False) -> Caller:
    """The user and groups that Kubernetes itself gives a ServiceAccount."""
    return Caller(
        user=f"{_SERVICE_ACCOUNT}{namespace}:{name}",
        groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
        key=key,
        stale=stale,
    )
