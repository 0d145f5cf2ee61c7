"""Kubernetes quantities as exact numbers (k8s.io/apimachinery/pkg/api/resource)."""

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate(("m", "u", "n"), start=1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([A-Za-z]*))")


def amount(quantity: str) -> Decimal:
    """The number that a quantity means; ValueError where it is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is not a quantity; for example 500m, 2, 8Gi")
    number, exponent, suffix = match.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])


def cores(quantity: str) -> Decimal:
    """CPUs."""
    return amount(quantity)


def human_bytes(size: int) -> str:
    """Bytes for people: 512 B, 8.9 MiB, 1.3 GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"
