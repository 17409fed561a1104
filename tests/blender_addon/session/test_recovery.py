"""When a fit whose backend was lost begins again by itself, and to which job it attaches."""

from __future__ import annotations

import pytest

pytest.importorskip("bpy")
pytestmark = pytest.mark.any_blender


@pytest.fixture
def recovery(addon):
    return addon.session.recovery.Recovery()


@pytest.fixture
def lost(addon):
    """An error, and the session's status when it came."""

    def make(state="fitting", **about):
        error = addon.session.backend_link.BackendLost("It is gone.", "Resume.", **about)
        return error, addon.session.session_status.SessionStatus(state)

    return make


def test_a_job_that_may_go_on_is_attached_to_also_after_attempts_that_failed(recovery, lost) -> None:
    recovery.take(*lost(job_may_go_on=True), "job")
    assert recovery.job == "job"
    recovery.take(*lost("starting"), "")  # nobody answers yet
    assert recovery.job == "job"
    recovery.take(*lost("starting", backend_is_there=True), "")  # it has forgotten the job
    assert recovery.job == ""


def test_a_job_that_has_not_all_views_is_begun_again(recovery, lost) -> None:
    recovery.take(*lost("rendering", job_may_go_on=True), "job")
    assert recovery.job == ""


def test_a_forgotten_job_is_begun_again_a_few_times(addon, recovery, lost) -> None:
    begun = []
    for _ in range(5):
        recovery.take(*lost(backend_is_there=True), "job")
        recovery.begin_again(lambda: begun.append(1))
    assert len(begun) == addon.session.recovery.MOST_BEGUN_AGAIN
    recovery.has_gone_on()
    recovery.begin_again(lambda: begun.append(1))
    recovery.take(*lost(), "job")
    count = len(begun)
    recovery.begin_again(lambda: begun.append(1))
    assert len(begun) == count


def test_a_new_beginning_that_fails_raises_nothing(addon, recovery, lost) -> None:
    def fail():
        raise addon.common.errors.PbrFitError("It does not start.", "Look.")

    recovery.take(*lost(backend_is_there=True), "job")
    recovery.begin_again(fail)
