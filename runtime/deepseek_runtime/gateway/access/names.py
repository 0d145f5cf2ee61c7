"""Kubernetes names, checked before they become part of a URL or a review."""

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_label(name: str) -> bool:
    """Whether it is a DNS label (RFC 1123): a namespace, a service, a key."""
    return _LABEL.fullmatch(name) is not None


def is_subdomain(name: str) -> bool:
    """Whether it is a DNS subdomain (RFC 1123): a ServiceAccount."""
    return len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None
