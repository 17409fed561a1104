from __future__ import annotations

import pytest

from backend.protocol.wire import content_hash
from backend.server.store import ArrayStore, StoreError, Stores


def lone_store(capacity: int) -> ArrayStore:
    """The store of the only key."""
    return Stores(capacity).of("key")


def put(store, data: bytes) -> str:
    """Announces and stores some content, and takes the pin back; returns its hash."""
    digest = content_hash(data)
    store.pin({digest: len(data)})
    assert store.put(digest, 0, len(data), data) == len(data)
    store.unpin({digest: len(data)})
    return digest


def test_content_stays_after_its_job_until_room_is_needed():
    store = lone_store(100)
    a = put(store, b"a" * 60)
    assert a in store
    b = put(store, b"b" * 60)
    assert a not in store
    assert store.get(b) == b"b" * 60
    assert store.content_bytes == 60


def test_the_least_recently_used_goes_first():
    store = lone_store(100)
    digests = [put(store, name * 30) for name in (b"a", b"b", b"c")]
    store.get(digests[0])
    digests.append(put(store, b"d" * 30))
    assert [digest in store for digest in digests] == [True, False, True, True]


def test_what_a_job_needs_is_never_evicted():
    store = lone_store(100)
    a = put(store, bytes(60))
    store.pin({a: 60})
    with pytest.raises(StoreError, match="at most"):
        store.pin({"b": 60})
    assert a in store


def test_content_shared_by_two_jobs_is_kept_until_both_end():
    store = lone_store(100)
    a = put(store, bytes(60))
    store.pin({a: 60})
    store.pin({a: 60})
    store.unpin({a: 60})
    with pytest.raises(StoreError):
        store.pin({"b": 60})
    store.unpin({a: 60})
    store.pin({"b": 60})


def test_a_refused_pin_leaves_nothing_pinned():
    store = lone_store(100)
    with pytest.raises(StoreError):
        store.pin({"a": 60, "b": 60})
    store.pin({"c": 100})


def test_content_that_no_job_announced_is_refused():
    store = lone_store(100)
    with pytest.raises(StoreError, match="no job"):
        store.put("a", 0, 1, b"a")


def test_content_of_another_size_than_announced_is_refused():
    store = lone_store(100)
    store.pin({"a": 3})
    with pytest.raises(StoreError, match="announced"):
        store.put("a", 0, 1, b"a")
    with pytest.raises(StoreError, match="two sizes"):
        store.pin({"a": 4})


def test_content_comes_in_pieces_and_is_there_when_it_is_whole():
    store, data = lone_store(100), bytes(range(50))
    digest = content_hash(data)
    store.pin({digest: 50})
    assert store.put(digest, 0, 50, data[:20]) == 20
    assert store.put(digest, 0, 50, data[:20]) == 20  # again
    assert store.put(digest, 40, 50, data[40:]) == 20  # past a gap
    assert digest not in store
    assert store.put(digest, 20, 50, data[20:]) == 50
    assert bytes(store.get(digest)) == data
    assert store.put(digest, 0, 50, data[:20]) == 50


def test_pieces_that_do_not_make_up_their_hash_are_forgotten():
    store, data = lone_store(100), bytes(range(50))
    digest = content_hash(data)
    store.pin({digest: 50})
    store.put(digest, 0, 50, bytes(20))
    with pytest.raises(StoreError, match="does not match"):
        store.put(digest, 20, 50, data[20:])
    assert store.content_bytes == 0
    assert store.put(digest, 0, 50, data) == 50


def test_what_is_half_there_goes_with_its_last_job():
    store, data = lone_store(100), bytes(80)
    digest = content_hash(data)
    store.pin({digest: 80})
    store.pin({digest: 80})
    store.put(digest, 0, 80, data[:20])
    store.unpin({digest: 80})
    assert store.content_bytes == 20
    store.unpin({digest: 80})
    assert store.content_bytes == 0


def test_nothing_is_content_too():
    store = lone_store(100)
    assert put(store, b"") in store


def test_whole_content_is_taken_where_a_job_waits_for_it_and_only_there():
    store = lone_store(100)
    data, digest = b"a" * 60, content_hash(b"a" * 60)
    store.take(digest, data)  # its job has ended meanwhile
    assert (digest in store, store.content_bytes) == (False, 0)
    store.pin({digest: 60})
    store.take(digest, data[:50])
    assert digest not in store
    store.put(digest, 0, 60, data[:20])  # another client uploads it at the same time
    store.take(digest, data)
    assert (store.get(digest), store.content_bytes) == (data, 60)
    assert store.put(digest, 20, 60, data[20:]) == 60
    store.take(digest, data)
    assert store.content_bytes == 60
    store.unpin({digest: 60})
    assert digest in store
