"""20,000 nearly right messages of two clients to a real backend. `python -m benchmarks fuzz` sends more."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.server_harness import assert_lives, put, raw_client, run_to_result, running_server, submit

from backend.protocol.wire import describe
from benchmarks.fuzz_clients import Fuzzing, three_keys
from benchmarks.small_backend import small_backend

MESSAGES, BURST = 20_000, 25
MOST_MORE_MIB = 12.0  # 20,000 messages fill the replies that are kept for repeats: 8 MiB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def backend():
    keys = three_keys()
    with small_backend(keys, keeps=True) as started:
        fuzzing = Fuzzing(started, keys)
        fuzzing.settle()
        yield started, fuzzing
        fuzzing.close()


def test_nearly_right_messages_do_no_harm(backend):
    """Figure before: one array of shape [0, 2**31, 2**32] ended the server with all jobs."""
    started, fuzzing = backend

    @settings(
        max_examples=MESSAGES // (2 * BURST),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def send(random):
        fuzzing.burst(random, BURST)
        assert not fuzzing.internal

    fuzzing.settle()
    before = started.memory_mib()
    send()
    fuzzing.settle()
    assert fuzzing.sent >= MESSAGES
    assert started.memory_mib() - before < MOST_MORE_MIB
    answers = fuzzing.clients[0].heard.types + fuzzing.clients[1].heard.types
    for kind in ("accepted", "stored", "scene_ready", "frame_piece", "result", "cancelled", "error"):
        assert answers[kind], f"no message was answered by {kind}"


def test_one_hash_that_stands_for_two_sizes_is_refused():
    """Found by fuzzing. Figure before: the code `internal`, for each later upload of this key too."""
    eight = np.arange(8, dtype=np.uint8)
    seven = describe(eight[:7]).to_dict() | {"hash": describe(eight).hash, "dtype": "float32", "shape": [1]}
    with running_server() as server, raw_client(server.address) as raw:
        arrays = {"a": seven, "b": describe(eight).to_dict()}
        refused = raw.request("submit", {"arrays": arrays})
        assert (refused.body["code"], "another array with its hash" in refused.body["cause"]) == ("array", True)
        refused = raw.request("scene", {"scene": 1, "arrays": arrays, "jobs": []}, description=eight)
        assert refused.body["code"] == "array"
        submit(raw, {"b": eight})
        assert put(raw, eight).type == "stored"


@pytest.mark.parametrize("part", ["_forget_silent_sessions", "_send_events", "_take_reports"])
def test_a_fault_of_the_servers_own_ends_nothing(part, monkeypatch, caplog):
    with running_server() as server, raw_client(server.address) as raw:
        assert_lives(raw)
        work = getattr(server, part)
        faults = iter(range(3))

        def fail_thrice():
            if next(faults, None) is not None:
                raise RuntimeError("a fault")
            work()

        monkeypatch.setattr(server, part, fail_thrice)
        server._report(lambda: 1 / 0)
        time.sleep(1.7)
        assert run_to_result(raw).type == "result"
        assert server.dropped["internal"] >= 3
    assert caplog.text.count("a part of the server failed") <= 4
