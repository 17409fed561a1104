"""Arrays by the hash of their content, so that an unchanged mesh or environment is uploaded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from backend.protocol.errors import CauseAndCure
from backend.protocol.wire import Buffer, new_hash


class StoreError(CauseAndCure):
    """The store cannot take an array."""


class _Partial:
    """Content of which a part has arrived."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.received = 0
        self.hash = new_hash()

    def append(self, piece: Buffer) -> None:
        self.data[self.received : self.received + len(piece)] = piece
        self.received += len(piece)
        self.hash.update(piece)


class ArrayStore:
    """Content by hash, at most `capacity_bytes` of it. Not thread-safe: the server's I/O thread owns it.

    A job pins what it needs before the first byte arrives: so capacity is promised in advance, and content that nobody
    announced is refused. Content without pins stays while there is room; the least recently used goes first.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._content: OrderedDict[str, Buffer] = OrderedDict()
        self._content_bytes = 0  # whole content and partial content together
        self._partial: dict[str, _Partial] = {}
        self._pinned: dict[str, tuple[int, int]] = {}  # hash -> size in bytes, number of pins

    @property
    def content_bytes(self) -> int:
        """The bytes held now."""
        return self._content_bytes

    def __contains__(self, digest: str) -> bool:
        return digest in self._content

    def pin(self, sizes: Mapping[str, int]) -> None:
        """Keeps content of these sizes, or promises room for it, until `unpin`; all or nothing.

        Raises `StoreError` when the pinned content would exceed the capacity, or a size contradicts a known one.
        """
        for digest, size in sizes.items():
            known = self._pinned[digest][0] if digest in self._pinned else size
            held = len(self._content[digest]) if digest in self._content else size
            if size != known or size != held:
                raise StoreError(f"Content {digest[:12]} was announced with two sizes.", "Hash the array again.")
        new_bytes = sum(size for digest, size in sizes.items() if digest not in self._pinned)
        wanted = self._pinned_bytes() + new_bytes
        if wanted > self._capacity:
            raise StoreError(
                f"The arrays of all jobs would take {wanted / 2**20:.0f} MiB; "
                f"the backend keeps at most {self._capacity / 2**20:.0f} MiB.",
                "Reduce the mesh or the environment, wait for other jobs, or start the backend with a larger store.",
            )
        for digest, size in sizes.items():
            count = self._pinned.get(digest, (size, 0))[1]
            self._pinned[digest] = (size, count + 1)
            if digest in self._content:
                self._content.move_to_end(digest)

    def unpin(self, digests: Mapping[str, int]) -> None:
        """Takes back one `pin` of each; from then on, content without pins may be removed."""
        for digest in digests:
            size, count = self._pinned.pop(digest)
            if count > 1:
                self._pinned[digest] = (size, count - 1)
            elif digest in self._partial:
                self._forget_partial(digest)

    def put(self, digest: str, offset: int, total: int, data: Buffer) -> int:
        """Keeps a piece of content of `total` bytes; returns how many bytes are there, from its start, without gaps.

        Ignores a piece that is there already or that would leave a gap. Raises `StoreError` unless the content is pinned
        with this size, and where the whole content does not match its hash; then it must be sent again.
        """
        if digest not in self._pinned:
            raise StoreError(f"Content {digest[:12]} belongs to no job.", "Submit the job first.")
        if self._pinned[digest][0] != total:
            raise StoreError(
                f"Content {digest[:12]} has {total} bytes; {self._pinned[digest][0]} were announced.",
                "Submit the job again.",
            )
        if digest in self._content:
            return total
        if digest not in self._partial:
            self._make_room(total)
            self._content_bytes += total
            self._partial[digest] = _Partial(bytearray(total))
        partial = self._partial[digest]
        if offset == partial.received:
            partial.append(data)
        if partial.received == total:
            if partial.hash.hexdigest() != digest:
                self._forget_partial(digest)
                raise StoreError(f"Content {digest[:12]} does not match its hash.", "Submit the job again.")
            self._content[digest] = memoryview(self._partial.pop(digest).data).toreadonly()
        return partial.received

    def get(self, digest: str) -> Buffer:
        """The content of this hash. Raises KeyError where it is absent."""
        self._content.move_to_end(digest)
        return self._content[digest]

    def _forget_partial(self, digest: str) -> None:
        self._content_bytes -= len(self._partial.pop(digest).data)

    def _pinned_bytes(self) -> int:
        return sum(size for size, _ in self._pinned.values())

    def _make_room(self, size: int) -> None:
        for digest in [digest for digest in self._content if digest not in self._pinned]:
            if self._content_bytes + size <= self._capacity:
                return
            self._content_bytes -= len(self._content.pop(digest))
