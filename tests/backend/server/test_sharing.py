from __future__ import annotations

import dataclasses

import pytest

from backend.job.model import Job
from backend.protocol.settings import FitSettings
from backend.protocol.wire import content_hash
from backend.server.sessions import LARGEST_KEPT_REPLIES, MOST_KEPT_REPLIES, Caller, Sessions
from backend.server.sharing import Sharing, largest_holder
from backend.server.store import MOST_KEPT_CONTENTS, StoreError, Stores
from backend.server.turns import Turns

SHARED = Sharing(alone=lambda: False)


def test_one_key_alone_may_have_all():
    assert Sharing().most(100, 0) == 100


def test_one_of_several_keys_leaves_as_much_as_it_takes():
    assert SHARED.most(100, 0) == 50
    assert SHARED.most(100, 50) == 25


def test_however_many_keys_want_all_each_gets_something_and_the_limit_holds():
    held = [0] * 5
    for _ in range(100):
        for key in range(5):
            held[key] += held[key] < SHARED.most(100, sum(held) - held[key])
    assert sum(held) < 100
    assert max(held) - min(held) <= 2  # they take turns, so none is first
    newcomer = SHARED.most(100, sum(held))
    assert newcomer > 5


def test_a_limit_of_one_is_for_whoever_comes_first():
    assert SHARED.most(1, 0) == 1
    assert SHARED.most(1, 1) == 0
    assert Sharing().most(1, 2) == 0


def test_the_largest_holder_is_the_first_of_equals():
    assert largest_holder({"a": 1, "b": 3, "c": 3}) == "b"


def job_of(key: str) -> Job:
    return Job("", "session", FitSettings(), {}, 0, owner=key)


def test_keys_take_turns_and_each_keeps_its_order():
    turns = Turns()
    jobs = [dataclasses.replace(job_of(key), id=f"{key}{number}") for key in "abc" for number in range(3)]
    for job in jobs:
        turns.add(job)
    predicted = {job.id: turns.ahead_of(job) for job in jobs}
    order = [job.id for job in iter(turns.next, None)]
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]
    assert [predicted[name] for name in order] == list(range(9))


def test_a_key_that_comes_late_waits_for_one_job_of_each_other():
    turns, late = Turns(), job_of("late")
    for key in "aaaaabbbbb":
        turns.add(job_of(key))
    turns.next()
    turns.add(late)
    assert turns.ahead_of(late) == 2
    turns.remove(late)
    assert late not in turns


def test_a_key_does_not_know_what_another_has_and_cannot_spoil_it():
    stores, data = Stores(1000), b"x" * 100
    digest = content_hash(data)
    ours, theirs = stores.of("ours"), stores.of("theirs")
    ours.pin({digest: 100})
    ours.put(digest, 0, 100, data)
    assert digest not in theirs
    theirs.pin({digest: 7})
    with pytest.raises(StoreError, match="announced"):
        theirs.put(digest, 0, 100, data)
    ours.pin({digest: 100})
    assert bytes(ours.get(digest)) == data


def test_what_a_key_pins_leaves_room_for_the_others():
    stores = Stores(1000, SHARED)
    stores.of("a").pin({"x": 500})
    with pytest.raises(StoreError, match="at most"):
        stores.of("a").pin({"y": 1})
    stores.of("b").pin({"y": 250})


def test_what_is_only_kept_goes_first_where_the_most_is():
    stores = Stores(1000)
    for key, letters in (("greedy", "abcdefgh"), ("modest", "i")):
        for letter in letters:
            data = letter.encode() * 100
            stores.of(key).pin({content_hash(data): 100})
            stores.of(key).put(content_hash(data), 0, 100, data)
            stores.of(key).unpin({content_hash(data): 100})
    data = b"z" * 300
    stores.of("new").pin({content_hash(data): 300})
    stores.of("new").put(content_hash(data), 0, 300, data)
    assert content_hash(b"i" * 100) in stores.of("modest")
    assert content_hash(b"a" * 100) not in stores.of("greedy")
    assert stores.content_bytes == 1000


def test_what_is_only_announced_pushes_nothing_out():
    stores, data = Stores(1000), b"k" * 300
    digest = content_hash(data)
    stores.of("a").pin({digest: 300})
    stores.of("a").put(digest, 0, 300, data)
    stores.of("a").unpin({digest: 300})
    stores.of("b").pin({"x": 1000})
    stores.of("b").put("x", 0, 1000, b"1")
    assert digest in stores.of("a")
    stores.of("b").put("x", 1, 1000, b"2" * 700)
    assert digest not in stores.of("a")


def test_small_contents_do_not_add_up():
    store = Stores(1 << 30).of("key")
    for number in range(MOST_KEPT_CONTENTS + 50):
        data = number.to_bytes(4, "little")
        store.pin({content_hash(data): 4})
        store.put(content_hash(data), 0, 4, data)
        store.unpin({content_hash(data): 4})
    assert store.content_bytes == 4 * MOST_KEPT_CONTENTS


def test_a_key_loses_its_own_sessions_first_and_the_one_with_the_most_in_all():
    ended: list[Caller] = []
    sessions = Sessions(6, 4, ended.append)
    sessions.heard(Caller("modest", "only"), b"")
    for number in range(10):
        sessions.heard(Caller("greedy", str(number)), b"")
    assert ended == [Caller("greedy", str(number)) for number in range(6)]
    assert sessions.get(Caller("modest", "only")) is not None
    for key in ("x", "y", "z"):
        sessions.heard(Caller(key, "only"), b"")
    assert sessions.get(Caller("modest", "only")) is not None
    assert len(sessions.of_key("greedy")) == 2


def test_one_name_under_two_keys_is_two_sessions():
    sessions = Sessions(6, 4, lambda _: None)
    sessions.heard(Caller("a", "name"), b"a's")
    sessions.heard(Caller("b", "name"), b"b's")
    assert [sessions.get(Caller(key, "name")).route for key in "ab"] == [b"a's", b"b's"]
    sessions.remove(Caller("a", "name"))
    assert sessions.keys == ["b"]


@pytest.mark.parametrize(("size", "most"), [(1, MOST_KEPT_REPLIES), (1 << 16, LARGEST_KEPT_REPLIES >> 16)])
def test_replies_are_kept_while_they_are_few_and_small(size, most):
    session = Sessions(6, 4, lambda _: None).heard(Caller("a", "name"), b"")
    for number in range(most + 10):
        session.keep_reply(str(number), [bytes(size)])
    assert session.reply_to("9") is None
    assert session.reply_to("10") is not None


def test_replies_that_the_client_has_go_one_ping_later():
    session = Sessions(6, 4, lambda _: None).heard(Caller("a", "name"), b"")
    for name in "xyz":
        session.keep_reply(name, [bytes(LARGEST_KEPT_REPLIES // 4)])
    session.note_received(["x", "y", "never asked"])
    assert session.reply_to("x") is not None
    session.note_received([])
    assert [session.reply_to(name) is not None for name in "xyz"] == [False, False, True]
    for name in "uvw":  # they count no more
        session.keep_reply(name, [bytes(LARGEST_KEPT_REPLIES // 4)])
    assert session.reply_to("z") is not None
