"""Arrays by the hash of their content, so that an unchanged mesh or environment is uploaded once. Each key has its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from backend.protocol.errors import CauseAndCure
from backend.protocol.wire import Buffer, new_hash
from backend.server.sharing import Sharing, largest_holder

# Content that no job needs any more: what each costs beside its bytes must not add up.
MOST_KEPT_CONTENTS = 4096


class StoreError(CauseAndCure):
    """The store cannot take an array."""


class _Partial:
    """Content of which a part has arrived. Its memory is reserved, and the system gives it as it is written to."""

    def __init__(self, size: int) -> None:
        self.data = np.empty(size, np.uint8).data if size else memoryview(bytearray())
        self.received = 0
        self.hash = new_hash()

    def append(self, piece: Buffer) -> None:
        self.data[self.received : self.received + len(piece)] = piece
        self.received += len(piece)
        self.hash.update(piece)


class Stores:
    """The stores of all keys, at most `capacity_bytes` together. Not thread-safe: the server's I/O thread owns it.

    sharing: how the keys share what may be promised. Content without pins stays while there is room, and goes first where
    the most is held.
    """

    def __init__(self, capacity_bytes: int, sharing: Sharing | None = None) -> None:
        self._capacity = capacity_bytes
        self._sharing = Sharing() if sharing is None else sharing
        self._stores: dict[str, ArrayStore] = {}

    @property
    def content_bytes(self) -> int:
        """The bytes held now by all keys."""
        return sum(store.content_bytes for store in self._stores.values())

    def of(self, key: str) -> ArrayStore:
        """The store of a key."""
        if key not in self._stores:
            self._stores[key] = ArrayStore(lambda: self._most(key), self._make_room)
        return self._stores[key]

    def held(self) -> dict[str, tuple[int, int]]:
        """By key: the bytes held now, and those that are promised."""
        return {key: (store.content_bytes, store.pinned_bytes) for key, store in self._stores.items()}

    def forget(self, key: str) -> None:
        """Drops all content of a key that nothing pins."""
        if key in self._stores:
            self._stores[key].evict_all()
            if not self._stores[key].content_bytes and not self._stores[key].pinned_bytes:
                del self._stores[key]

    def _most(self, key: str) -> int:
        others = sum(store.pinned_bytes for other, store in self._stores.items() if other != key)
        return self._sharing.most(self._capacity, others)

    def _make_room(self, size: int) -> None:
        while self.content_bytes + size > self._capacity:
            held = {key: store.content_bytes for key, store in self._stores.items() if store.has_unpinned}
            if not held:
                return  # all that may be pinned fits
            self._stores[largest_holder(held)].evict_oldest()


class ArrayStore:
    """One key's content by hash. `Stores.of` makes it.

    A job pins what it needs before the first byte arrives: so capacity is promised in advance, and content that nobody
    announced is refused. Content without pins stays while there is room; the least recently used goes first.

    most: how many bytes may be pinned now. make_room: called before so many bytes are held more.
    """

    def __init__(self, most: Callable[[], int], make_room: Callable[[int], None]) -> None:
        self._most = most
        self._make_room = make_room
        self._content: OrderedDict[str, Buffer] = OrderedDict()
        self._content_bytes = 0  # whole content, and what has arrived of partial content
        self._partial: dict[str, _Partial] = {}
        self._pinned: dict[str, tuple[int, int]] = {}  # hash -> size in bytes, number of pins
        self._pinned_bytes = 0
        self._unpinned: OrderedDict[str, None] = OrderedDict()  # content that nothing pins, the oldest first

    @property
    def content_bytes(self) -> int:
        """The bytes that have arrived and are held."""
        return self._content_bytes

    @property
    def pinned_bytes(self) -> int:
        """The bytes that are promised, arrived or not."""
        return self._pinned_bytes

    @property
    def has_unpinned(self) -> bool:
        """Whether there is content that nothing pins."""
        return bool(self._unpinned)

    def __contains__(self, digest: str) -> bool:
        return digest in self._content

    def pin(self, sizes: Mapping[str, int], overhead: int = 0) -> None:
        """Keeps content of these sizes, or promises room for it, until `unpin`; all or nothing.

        overhead: bytes that whoever pins takes elsewhere; they count as promised too. Raises `StoreError` when what is
        promised would be too much, or a size contradicts a known one.
        """
        for digest, size in sizes.items():
            known = self._pinned[digest][0] if digest in self._pinned else size
            held = len(self._content[digest]) if digest in self._content else size
            if size != known or size != held:
                raise StoreError(f"Content {digest[:12]} was announced with two sizes.", "Hash the array again.")
        new_bytes = sum(size for digest, size in sizes.items() if digest not in self._pinned)
        wanted, most = self._pinned_bytes + new_bytes + overhead, self._most()
        if wanted > most:
            raise StoreError(
                f"The arrays of this client's jobs and scenes would take {wanted / 2**20:.0f} MiB; "
                f"the backend now keeps at most {most / 2**20:.0f} MiB for it.",
                "Reduce the mesh or the environment, or wait for other jobs.",
            )
        self._pinned_bytes += new_bytes + overhead
        for digest, size in sizes.items():
            count = self._pinned.get(digest, (size, 0))[1]
            self._pinned[digest] = (size, count + 1)
            self._unpinned.pop(digest, None)

    def unpin(self, digests: Mapping[str, int], overhead: int = 0) -> None:
        """Takes back one `pin`; from then on, content without pins may be removed."""
        self._pinned_bytes -= overhead
        for digest in digests:
            size, count = self._pinned.pop(digest)
            if count > 1:
                self._pinned[digest] = (size, count - 1)
                continue
            self._pinned_bytes -= size
            if digest in self._partial:
                self._forget_partial(digest)
            elif digest in self._content:
                self._unpinned[digest] = None
        while len(self._unpinned) > MOST_KEPT_CONTENTS:
            self.evict_oldest()

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
            self._partial[digest] = _Partial(total)
        partial = self._partial[digest]
        if offset == partial.received:
            self._make_room(len(data))
            self._content_bytes += len(data)
            partial.append(data)
        if partial.received == total:
            if partial.hash.hexdigest() != digest:
                self._forget_partial(digest)
                raise StoreError(f"Content {digest[:12]} does not match its hash.", "Submit the job again.")
            self._content[digest] = self._partial.pop(digest).data.toreadonly()
        return partial.received

    def take(self, digest: str, data: Buffer) -> None:
        """Keeps whole content that was compared with its hash already; not where nothing pins it, or it is there."""
        if digest in self._content or self._pinned.get(digest, (-1, 0))[0] != len(data):
            return
        if digest in self._partial:
            self._forget_partial(digest)
        self._make_room(len(data))
        self._content[digest] = data
        self._content_bytes += len(data)

    def get(self, digest: str) -> Buffer:
        """The content of this hash. Raises KeyError where it is absent."""
        if digest in self._unpinned:
            self._unpinned.move_to_end(digest)
        return self._content[digest]

    def evict_oldest(self) -> None:
        """Removes what nothing pins and was not used for longest. Raises KeyError where there is none."""
        digest, _ = self._unpinned.popitem(last=False)
        self._content_bytes -= len(self._content.pop(digest))

    def evict_all(self) -> None:
        """Removes all that nothing pins."""
        while self._unpinned:
            self.evict_oldest()

    def _forget_partial(self, digest: str) -> None:
        self._content_bytes -= self._partial.pop(digest).received
