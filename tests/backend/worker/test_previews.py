"""Previews in a worker process: they show a running fit, hold up nobody, and outlive their process."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from support.preview_harness import even_scene, preview_client, request
from support.server_harness import PATIENCE_S, connected_client, raw_client, wait_for
from support.worker_server import START_S, served, worker_server

from backend.protocol.client.events import Accepted, MapPreview, Result
from backend.protocol.client.preview_events import FrameFailed, MapsChanged, PreviewFailed, PreviewFrame, SceneReady
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Limits

USUAL_PING_S, LONGEST_PING_S = 0.2, 1.0
DRAWING = {"make_drawing": "support.worker_drawing:make_drawing"}


@pytest.fixture(scope="module")
def server():
    with worker_server("support.worker_drawing:grow", {"limits": Limits()}) as running:
        yield running


def wait_until_new(server, before: int) -> None:
    """Wait until the process that was killed has a successor."""
    deadline = time.monotonic() + START_S
    while server.workers.processes[0].pid in (0, before):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def growing(client) -> str:
    client.submit(FitSettings(), {})
    return wait_for(client, Accepted)[-1].job


def test_a_scene_shows_the_maps_of_a_running_job(server):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        job = growing(client)
        preview.set_scene(even_scene(0.25, job), {})
        preview.wait(SceneReady, patience_s=START_S)
        shades = set()
        for number in range(100):
            preview.request_frame(request(number))
            shades.add(float(preview.wait(PreviewFrame).image[0, 0, 0]))
            if len(shades) > 4:
                break
            preview.wait(MapsChanged)
        assert len(shades) > 4
        client.finish()
        assert wait_for(client, Result)[-1].metrics["steps"] > 1


def test_a_scene_that_was_there_before_its_job_ran_shows_it_too(server):
    with connected_client(server.address) as client, connected_client(server.address) as other:
        growing(other)
        job = growing(client)
        with preview_client(server.address) as preview:
            preview.show(even_scene(0.25, job))
            other.finish()
            wait_for(other, Result)
            preview.wait(MapsChanged)
            client.finish()
            wait_for(client, Result)


def test_a_watched_job_shows_larger_previews(server):
    with connected_client(server.address) as client:
        client.watch(48, 0.05)
        growing(client)
        sizes = [wait_for(client, MapPreview)[-1].image.shape[0] for _ in range(24)]
        assert set(sizes[12:]) == {32}  # those before the wish to watch has come are larger and fewer
        client.watch(0)
        while wait_for(client, MapPreview)[-1].image.shape[0] != 64:
            pass
        client.finish()
        wait_for(client, Result)


def test_arrays_that_stay_from_scene_to_scene_travel_once(server):
    with preview_client(server.address) as preview:
        arrays = {"position": np.zeros((4_000_000, 3), np.float32)}
        preview.show(even_scene(0.5), arrays)
        began = time.monotonic()
        for shade in (0.25, 0.5, 0.75):
            preview.show(even_scene(shade), arrays)
        assert time.monotonic() - began < 1.0
        (viewer,) = server.workers.drawer._drawers[0]._viewers.values()
        assert viewer.counted == 1


def test_frames_that_are_replaced_are_told(server):
    with preview_client(server.address) as preview:
        preview.show(even_scene(0.5))
        for number in range(6):
            preview.request_frame(request(number))
        while preview.wait(PreviewFrame, FrameFailed).number != 5:
            pass


def test_a_new_process_gets_the_scenes_of_the_one_before(server):
    with preview_client(server.address) as preview:
        preview.show(even_scene(0.5))
        before = server.workers.processes[0].pid
        os.kill(before, signal.SIGKILL)
        wait_until_new(server, before)
        preview.request_frame(request(7))
        assert float(preview.wait(PreviewFrame, patience_s=START_S).image[0, 0, 0]) == 0.5


def test_a_frame_whose_process_is_lost_fails(server):
    with preview_client(server.address) as preview:
        preview.show(even_scene(0.5))
        os.kill(server.workers.processes[0].pid, signal.SIGSTOP)
        preview.request_frame(request(1))
        time.sleep(0.2)
        os.kill(server.workers.processes[0].pid, signal.SIGKILL)
        assert "signal 9" in preview.wait(FrameFailed).cause


def test_a_description_of_60_mib_holds_up_no_other_client(tmp_path):
    """Its text is read in the worker process."""
    part = even_scene(0.5).to_dict()["parts"][0]
    text = json.dumps({"parts": [part] * ((60 << 20) // (len(json.dumps(part)) + 2))}).encode()
    description = np.frombuffer(text, np.uint8)
    pings, stop, pinged = [], threading.Event(), threading.Event()

    def ping(address: str) -> None:
        with raw_client(address) as other:
            while not stop.is_set():
                began = time.monotonic()
                other.request("ping")
                pings.append(time.monotonic() - began)
                pinged.set()
                time.sleep(0.01)

    with served(tmp_path, find_device="builtins:dict") as server, raw_client(server.address) as raw:
        frames = raw.frames("scene", {"scene": 1, "arrays": {}, "jobs": []}, description=description)
        thread = threading.Thread(target=ping, args=(server.address,))
        thread.start()
        try:
            assert pinged.wait(PATIENCE_S)
            assert raw.exchange(frames).type == "scene_taken"
            deadline = time.monotonic() + 90
            while raw.events or not raw.socket.poll(1000) or raw.receive().type not in ("scene_ready", "scene_failed"):
                raw.events.clear()
                assert time.monotonic() < deadline
        finally:
            stop.set()
            thread.join()
    # The longest is the message itself: its hash, and the encryption at both ends.
    assert np.quantile(pings, 0.99) < USUAL_PING_S
    assert max(pings) < LONGEST_PING_S


def test_a_scene_that_ends_its_process_is_not_sent_again(server):
    with preview_client(server.address) as preview:
        os.kill(server.workers.processes[0].pid, signal.SIGSTOP)
        preview.set_scene(even_scene(0.5), {})
        time.sleep(0.2)
        os.kill(server.workers.processes[0].pid, signal.SIGKILL)
        assert "signal 9" in preview.wait(PreviewFailed).cause
        preview.set_scene(even_scene(0.75), {})
        preview.wait(SceneReady, patience_s=START_S)
