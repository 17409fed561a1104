"""A client that comes back attaches to its job: what it missed is told again, and nobody else is told."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from support.server_harness import (
    CLIENT_KEYS,
    PATIENCE_S,
    put,
    raw_client,
    run_to_result,
    running_server,
    small_capacity,
    submit,
)

from backend.job.model import FitProgress, FitResult, JobError, MapPreviews
from backend.protocol.keys import new_keys
from backend.server.gatekeeper import AuthorizedKeys
from backend.server.job_events import MOST_KEPT_EVENTS

OTHER_KEYS = new_keys()
PHASES = 3


@pytest.fixture
def gate():
    """Lets the job of `stepping` take its next step."""
    return threading.Semaphore(0)


def stepping(gate):
    """A job of several phases with many reports each, a word in between, and maps to be seen."""

    def job(inputs, settings, report, cancelled):
        for phase in range(PHASES):
            assert gate.acquire(timeout=PATIENCE_S)
            for iteration in range(20):
                report(FitProgress(f"phase {phase}", iteration / 20, iteration, None, None, f"step {iteration}"))
                time.sleep(0.06)  # reports of one phase that follow faster are left out
            report(FitProgress("again", 0.0, 0, None, None, f"a word after phase {phase}"))
        assert gate.acquire(timeout=PATIENCE_S)
        return FitResult({"kd.png": b"kd"}, {"phases": PHASES})

    return job


def wait_until(condition):
    deadline = time.monotonic() + 2 * PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def replayed(raw, job, last_seq):
    """The reply to an attach, and the events that follow at once."""
    reply = raw.request("attach", {"last_seq": last_seq}, job)
    raw.request("ping", job=job)
    events, raw.events = raw.events, []
    return reply, [event for event in events if event.seq]


def test_who_attaches_is_told_the_states_and_words_it_missed_and_only_the_latest_progress(gate):
    with running_server(stepping(gate)) as server:
        with raw_client(server.address) as gone:
            job = submit(gone).job
            seen = gone.event("progress").seq
        for _ in range(PHASES):
            gate.release()
        (known,) = server._service.jobs
        wait_until(lambda: known.progress and known.progress.message == f"a word after phase {PHASES - 1}")
        with raw_client(server.address) as raw:
            reply, events = replayed(raw, job, seen)
            assert reply.type == "attached"
            assert reply.body["state"] == "running"
            assert reply.body["seq"] == events[-1].seq
            told = [(event.body["state"], event.body["phase"], event.body["message"]) for event in events]
            numbers = [event.seq for event in events]
            assert numbers == sorted(set(numbers))
            assert numbers[0] > seen
            for phase in range(PHASES):
                assert ("running", f"phase {phase}", "step 19") in told
                assert ("running", "again", f"a word after phase {phase}") in told
            assert len(told) <= 2 + 2 * PHASES
            _, again = replayed(raw, job, events[-1].seq)
            assert again == []
            gate.release()
            assert raw.event("result").job == job  # further events come to whoever has attached last


def test_a_result_waits_for_whoever_attaches_and_is_fetched_once():
    with running_server() as server:
        with raw_client(server.address) as gone:
            job = run_to_result(gone, 2.0).job
        with raw_client(server.address) as raw:
            reply, events = replayed(raw, job, 0)
            assert reply.body["state"] == "done"
            assert events[-1].type == "result"
            assert raw.file(events[-1], "mean.txt") == b"2.0"
            raw.request("acknowledge", job=job)
            assert raw.request("attach", {"last_seq": 0}, job).body["code"] == "unknown_job"


def test_a_failure_waits_too():
    def fail(inputs, settings, report, cancelled):
        raise JobError("mesh", "It is no mesh.", "Give one.")

    with running_server(fail) as server:
        with raw_client(server.address) as gone:
            job = submit(gone).job
            gone.event("failed")
        with raw_client(server.address) as raw:
            _, events = replayed(raw, job, 0)
            assert (events[-1].type, events[-1].body["code"]) == ("failed", "mesh")


def test_another_key_gets_the_answer_of_a_job_that_there_is_not():
    authorized = AuthorizedKeys([CLIENT_KEYS.public, OTHER_KEYS.public])
    with (
        running_server(authorized=authorized) as server,
        raw_client(server.address) as raw,
        raw_client(server.address, OTHER_KEYS) as thief,
    ):
        array = np.zeros(9, np.uint8)
        job = submit(raw, {"a": array}).job
        thief.session = raw.session
        refusals = [thief.request("attach", {"last_seq": 0}, name) for name in (job, "0" * len(job))]
        assert [refusal.body["code"] for refusal in refusals] == ["unknown_job"] * 2
        assert refusals[0].body["cause"].replace(job, "0" * len(job)) == refusals[1].body["cause"]
        put(raw, array)
        raw.request("end_views", {"count": 0}, job)
        assert raw.event("result").job == job
        assert thief.events == []


def test_a_job_that_waits_for_arrays_says_which():
    with running_server() as server:
        array, other = np.zeros(9, np.uint8), np.ones(5, np.uint8)
        with raw_client(server.address) as gone:
            job = submit(gone, {"a": array, "b": other}).job
            put(gone, array)
        with raw_client(server.address) as raw:
            reply, _ = replayed(raw, job, 0)
            (missing,) = reply.body["missing"]
            put(raw, other)
            raw.request("end_views", {"count": 0}, job)
            assert raw.event("result").job == job
            assert missing


@pytest.mark.parametrize("last_seq", [-1, 1.5, "1", None, True])
def test_a_number_that_is_none_is_refused(last_seq):
    with running_server() as server, raw_client(server.address) as raw:
        job = submit(raw, {"a": np.zeros(9, np.uint8)}).job
        assert raw.request("attach", {"last_seq": last_seq}, job).body["code"] == "malformed"


def test_a_hello_that_names_a_job_leaves_it_alone():
    with running_server() as server, raw_client(server.address) as raw:
        kept, left = (submit(raw, {"a": np.zeros(size, np.uint8)}).job for size in (9, 8))
        raw.request("hello", job=kept)
        assert raw.request("ping", job=kept).body["state"] == "uploading"
        assert raw.request("ping", job=left).body["state"] == "cancelled"


def test_previews_go_on_after_one_was_lost_with_the_connection():
    """Before, a preview that never came was never confirmed, and no other followed."""
    steps = threading.Semaphore(0)

    def show(inputs, settings, report, cancelled):
        while steps.acquire(timeout=PATIENCE_S) and not cancelled():
            inputs.control.show(0, {"kd": np.zeros((2, 2, 4), np.uint8)})
        return FitResult({}, {})

    with running_server(show) as server:
        with raw_client(server.address) as gone:
            job = submit(gone).job
            steps.release()
            gone.event("preview")
        (known,) = server._service.jobs
        steps.release()
        wait_until(lambda: known.previews)
        assert isinstance(known.previews[0], MapPreviews)
        with raw_client(server.address) as raw:
            raw.request("attach", {"last_seq": 0}, job)
            assert raw.event("preview").job == job
            raw.request("cancel", job=job)
            steps.release()


def test_what_is_kept_to_be_told_again_is_bounded():
    steps = threading.Event()

    def chatter(inputs, settings, report, cancelled):
        for number in range(2 * MOST_KEPT_EVENTS):
            report(FitProgress(f"phase {number}", 0.0, number, None, None, ""))
        assert steps.wait(PATIENCE_S)
        return FitResult({}, {})

    with running_server(chatter) as server, raw_client(server.address) as raw:
        submit(raw)
        (known,) = server._service.jobs
        wait_until(lambda: known.progress and known.progress.phase == f"phase {2 * MOST_KEPT_EVENTS - 1}")
        assert len(known.told) == MOST_KEPT_EVENTS
        steps.set()
        raw.event("result")


def test_results_that_nobody_asks_for_go_after_a_time():
    with running_server(capacity=small_capacity(outcome_s=0.5)) as server, raw_client(server.address) as raw:
        job = run_to_result(raw).job
        assert raw.request("attach", {"last_seq": 0}, job).type == "attached"
        wait_until(lambda: not list(server._service.jobs))
        assert raw.request("attach", {"last_seq": 0}, job).body["code"] == "unknown_job"
