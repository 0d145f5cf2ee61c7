"""Objects by the ten thousand: each packed, and unpacked again for whoever asks for it.

Objects of a kind are mostly alike, so each is compressed with the kind's first one as the dictionary: about 100 bytes
for an object of 1.5 KB of JSON, in 15 µs, and back in 10 µs.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from deepseek_operator.controllers.decision import Object, Ref

_WINDOW = -15
_PATTERN = 8192
"""Bytes of the dictionary: the first object of a kind may be a huge one."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An object without its resource version, which stands beside it: equal bytes are equal objects."""

    uid: str
    version: int
    owner: Ref | None
    data: bytes


class Shelf:
    """The objects by reference. What it gives out is a fresh copy each time."""

    def __init__(self) -> None:
        self._packed: dict[Ref, Packed] = {}
        self._patterns: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Ref]:
        return iter(self._packed)

    def entry(self, ref: Ref) -> Packed | None:
        """What is known of an object without unpacking it."""
        return self._packed.get(ref)

    def get(self, ref: Ref) -> Object | None:
        """The object."""
        packed = self._packed.get(ref)
        return self._unpack(ref.kind, packed) if packed is not None else None

    def put(self, ref: Ref, packed: Packed) -> None:
        """Keep a packed object, in place of an older one."""
        self._packed[ref] = packed

    def remove(self, ref: Ref) -> None:
        """Forget an object."""
        del self._packed[ref]

    def pack(self, obj: Object, owner: Ref | None) -> Packed:
        """Pack an object of an owner."""
        meta = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
        text = orjson.dumps({**obj, "metadata": meta})
        pattern = self._patterns.setdefault(obj["kind"], text[:_PATTERN])
        packer = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, _WINDOW, zdict=pattern)
        data = packer.compress(text) + packer.flush()
        return Packed(meta["uid"], int(obj["metadata"]["resourceVersion"]), owner, data)

    def _unpack(self, kind: str, packed: Packed) -> Object:
        unpacker = zlib.decompressobj(_WINDOW, zdict=self._patterns[kind])
        obj: Object = orjson.loads(unpacker.decompress(packed.data))
        obj["metadata"]["resourceVersion"] = str(packed.version)
        return obj
