from __future__ import annotations

import pytest

from backend.store import ArrayStore, StoreError


def test_content_stays_after_its_job_until_room_is_needed():
    store = ArrayStore(100)
    store.pin({"a": 60})
    store.put("a", b"a" * 60)
    store.unpin({"a": 60})
    assert "a" in store
    store.pin({"b": 60})
    store.put("b", b"b" * 60)
    assert "a" not in store
    assert store.get("b") == b"b" * 60
    assert store.content_bytes == 60


def test_the_least_recently_used_goes_first():
    store = ArrayStore(100)
    for name in "abc":
        store.pin({name: 30})
        store.put(name, bytes(30))
        store.unpin({name: 30})
    store.get("a")
    store.pin({"d": 30})
    store.put("d", bytes(30))
    assert [name in store for name in "abcd"] == [True, False, True, True]


def test_what_a_job_needs_is_never_evicted():
    store = ArrayStore(100)
    store.pin({"a": 60})
    store.put("a", bytes(60))
    with pytest.raises(StoreError, match="at most"):
        store.pin({"b": 60})
    assert "a" in store


def test_content_shared_by_two_jobs_is_kept_until_both_end():
    store = ArrayStore(100)
    store.pin({"a": 60})
    store.pin({"a": 60})
    store.put("a", bytes(60))
    store.unpin({"a": 60})
    with pytest.raises(StoreError):
        store.pin({"b": 60})
    store.unpin({"a": 60})
    store.pin({"b": 60})


def test_a_refused_pin_leaves_nothing_pinned():
    store = ArrayStore(100)
    with pytest.raises(StoreError):
        store.pin({"a": 60, "b": 60})
    store.pin({"c": 100})


def test_content_that_no_job_announced_is_refused():
    store = ArrayStore(100)
    with pytest.raises(StoreError, match="no job"):
        store.put("a", b"a")


def test_content_of_another_size_than_announced_is_refused():
    store = ArrayStore(100)
    store.pin({"a": 3})
    with pytest.raises(StoreError, match="announced"):
        store.put("a", b"a")
    with pytest.raises(StoreError, match="two sizes"):
        store.pin({"a": 4})
