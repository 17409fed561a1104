"""A fit in a backend elsewhere, while the network is gone or the backend starts again: it goes on by itself.

With PBRFIT_TEST_LONG=1 the network is gone for a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from support.blender.scenes import TIMEOUT_S, ready_cube
from support.blender.session_steps import finish, poll_until, start, tiny_fit
from support.cuttable_link import CuttableLink

bpy = pytest.importorskip("bpy")

LONG = bool(os.environ.get("PBRFIT_TEST_LONG"))
GONE_S = 60.0 if LONG else 9.0
TRYING_AGAIN = "The backend does not answer; trying again"
pytestmark = pytest.mark.any_blender


class Elsewhere:
    """A backend with a folder for checkpoints, and the network before it."""

    def __init__(self, addon, folder):
        self._folder = folder
        self._client = addon.setup.backend_process.client_keys().public
        self.started = 0
        address = self.start()
        self.link = CuttableLink(address)

    def start(self):
        """Start it with the keys that it had. Returns its address."""
        self.started += 1
        file = self._folder / f"address{self.started}.json"
        python = os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable
        command = [python, "-m", "backend", "serve", "--address-file", file, f"--client-key={self._client}"]
        command += ["--checkpoints", self._folder / "kept", "--key-file", self._folder / "key.json"]
        self.process = subprocess.Popen([*map(str, command), "--parent-pid", str(os.getpid())])
        deadline = time.monotonic() + TIMEOUT_S
        while not file.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        said = json.loads(file.read_text())
        self.public_key = said["public_key"]
        return said["address"]

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def elsewhere(addon, tmp_path):
    tiny_fit()
    ready_cube()
    settings = bpy.context.scene.pbrfit
    settings.quality, settings.resolution, settings.view_size = "high", 256, 64
    settings.reference_light = "SCENE"
    backend = Elsewhere(addon, tmp_path)
    addon.preferences.backend_address, addon.preferences.backend_key = backend.link.address, backend.public_key
    yield backend
    addon.session.session.end_session()
    backend.link.close()
    backend.kill()


def fitting(addon):
    """A fit that has begun, and has all its views."""
    session = start(addon)
    poll_until(session, lambda status: status.state == "fitting" and status.iteration > 0)
    return session


def poll_for(session, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert not session.poll().finished, session.status
        time.sleep(0.02)


def take_result(session):
    """End the fit with what it has, where it has not ended meanwhile."""
    iteration = session.status.iteration
    poll_until(session, lambda status: status.state != "fitting" or status.iteration > iteration)
    if session.status.state == "fitting":
        bpy.ops.pbrfit.apply_now()
    finish(session)


@pytest.mark.parametrize("gone_s", [2.0, GONE_S])
def test_a_network_that_is_gone_costs_nothing(addon, elsewhere, gone_s) -> None:
    session = fitting(addon)
    job = session.maps.job
    with elsewhere.link.outage():
        poll_until(session, lambda status: status.message == TRYING_AGAIN)
        assert session.status.state == "fitting"
        poll_for(session, gone_s)
        assert session.status.message == TRYING_AGAIN
    poll_until(session, lambda status: status.message != TRYING_AGAIN)
    assert session.maps.job in (job, "")  # a quick machine has ended it meanwhile
    take_result(session)
    assert session.result.metrics["resumed_at_iteration"] == 0


@pytest.mark.skipif(not LONG, reason="takes more than a minute: PBRFIT_TEST_LONG=1")
def test_a_job_that_waited_too_long_for_its_client_is_begun_again(addon, elsewhere) -> None:
    """The network goes while references are rendered; after a minute the backend gives the job up."""
    session = start(addon)
    poll_until(session, lambda status: status.state == "rendering" and session.maps.job)
    job = session.maps.job
    with elsewhere.link.outage():
        poll_for(session, 70.0)
        assert session.status.message == TRYING_AGAIN
    poll_until(session, lambda status: session.maps.job not in ("", job))
    poll_until(session, lambda status: status.state == "fitting" and status.iteration > 0)
    take_result(session)


def test_a_cancel_while_the_network_is_gone_is_one(addon, elsewhere) -> None:
    session = fitting(addon)
    with elsewhere.link.outage():
        poll_until(session, lambda status: status.message == TRYING_AGAIN)
        began = time.monotonic()
        session.cancel()
        assert time.monotonic() - began < 1.5
        assert session.status.state == "cancelled"


def test_a_fit_that_was_given_up_attaches_to_its_job(addon, elsewhere, monkeypatch) -> None:
    link = addon.session.backend_link
    monkeypatch.setattr(link, "REMOTE", replace(link.REMOTE, silence=2.0, retry=1.0))
    session = fitting(addon)
    job = session.maps.job
    with elsewhere.link.outage():
        deadline = time.monotonic() + TIMEOUT_S
        while not session.poll().finished:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert session.status.can_resume
        assert "The backend is gone" in session.status.message
    sent = elsewhere.link.sent_bytes
    assert bpy.ops.pbrfit.resume() == {"FINISHED"}
    poll_until(session, lambda status: status.state == "fitting" and session.maps.job)
    assert session.maps.job == job
    take_result(session)
    assert session.result.metrics["resumed_at_iteration"] == 0
    assert elsewhere.link.sent_bytes - sent < 30_000


def test_a_backend_that_starts_again_goes_on_with_the_fit(addon, elsewhere) -> None:
    session = fitting(addon)
    poll_until(session, lambda status: any((elsewhere._folder / "kept").rglob("running.npz")))
    uploaded = elsewhere.link.sent_bytes
    elsewhere.kill()
    with elsewhere.link.outage():
        poll_until(session, lambda status: status.message == TRYING_AGAIN)
        host, port = elsewhere.start().removeprefix("tcp://").split(":")
        elsewhere.link._target = host, int(port)
    poll_until(session, lambda status: status.state == "starting")
    poll_until(session, lambda status: status.state == "fitting" and status.iteration > 0)
    again = elsewhere.link.sent_bytes - uploaded
    take_result(session)
    assert session.result.metrics["resumed_at_iteration"] > 0
    assert again < 30_000 < uploaded


def test_a_backend_that_forgets_again_and_again_is_left_to_the_artist(addon, elsewhere, monkeypatch) -> None:
    module = addon.session.recovery
    monkeypatch.setattr(module, "MOST_BEGUN_AGAIN", 0)
    session = fitting(addon)
    elsewhere.kill()
    with contextlib.ExitStack() as stack:
        stack.enter_context(elsewhere.link.outage())
        poll_until(session, lambda status: status.message == TRYING_AGAIN)
        host, port = elsewhere.start().removeprefix("tcp://").split(":")
        elsewhere.link._target = host, int(port)
    deadline = time.monotonic() + TIMEOUT_S
    while not session.poll().finished:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert session.status.can_resume
    assert "does not know the job any more" in session.status.message
