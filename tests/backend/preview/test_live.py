"""Previews of a running fit: larger ones for its client, its maps in scenes, and what they may cost."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from support.fit_scenes import ENVIRONMENT, ball_dataset, submit_ball
from support.preview_harness import StandIn, even_scene, preview_client, request
from support.server_harness import (
    CLIENT_KEYS,
    FIT_PATIENCE_S,
    PATIENCE_S,
    Limits,
    connected_client,
    progress_until,
    raw_client,
    running_server,
    submit,
    wait_for,
)

from backend.job.live_maps import FULL_SIZE, LEARNED_LIGHT, MAPS_SHARE, JobLive
from backend.job.map_previews import MapPreviewer, preview_images
from backend.job.model import FitResult
from backend.job.run import run_fit_job
from backend.job.snapshot import Snapshot
from backend.job.time_share import TimeShare
from backend.protocol.client.events import Accepted, Failed, LightPreview, MapPreview, Result
from backend.protocol.client.preview_events import MapsChanged, PreparedLight, PreviewFailed, PreviewFrame, SceneReady
from backend.protocol.keys import new_keys
from backend.protocol.scene_description import SceneDescription
from backend.protocol.settings import FitSettings
from backend.protocol.wire import content_hash
from backend.server.gatekeeper import AuthorizedKeys
from render.core.color import linear_to_srgb
from render.light.environment import env_from_latlong
from render.material.material import KD, NORMAL, initial_maps


def grow(inputs, settings, report, cancelled):
    """A job whose maps become brighter with every step of a hundredth of a second, as the step says."""
    previewer = MapPreviewer(inputs.control, 0, None)
    maps = initial_maps(64, alpha=False)
    step = 0
    while not (cancelled() or inputs.control.finishing):
        step += 1
        maps.texels[..., KD] = min(step, 1000) / 1000
        previewer.offer(maps)
        time.sleep(0.01)
    return FitResult({}, {"steps": step})


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def server(stand_in):
    authorized = AuthorizedKeys([CLIENT_KEYS.public, OTHER_KEYS.public])
    with running_server(grow, make_drawing=lambda: stand_in.drawing, authorized=authorized) as running:
        yield running


OTHER_KEYS = new_keys()


def growing(client) -> str:
    client.submit(FitSettings(), {})
    return wait_for(client, Accepted)[-1].job


def scene_of(job: str, light_job: str = "") -> SceneDescription:
    return even_scene(0.25, job, light_job)


def frames_until(preview, condition):
    """Asks for a frame whenever the maps have changed, as a viewport does, until one is as it should be."""
    deadline = time.monotonic() + PATIENCE_S
    number = 0
    frames = []
    while time.monotonic() < deadline:
        number += 1
        preview.request_frame(request(number))
        frames.append(preview.wait(PreviewFrame))
        if condition(frames):
            return frames
        preview.wait(MapsChanged)
    raise AssertionError("the frame waited for did not come")


def test_a_scene_shows_the_maps_of_a_job_as_they_grow(server):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        preview.show(scene_of(growing(client)))
        began = time.monotonic()
        frames = frames_until(preview, lambda frames: len(frames) > 6)
        assert time.monotonic() - began < 2.0
        shades = [float(frame.image[0, 0, 0]) for frame in frames if frame.image[0, 0, 0] != 0.25]
        assert shades == sorted(shades)
        assert len(set(shades)) > 4


def test_maps_that_nobody_asks_a_frame_for_are_copied_once(server):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        job = growing(client)
        preview.show(scene_of(job))
        assert preview.wait(MapsChanged) == MapsChanged(job, 0)
        live = server._service.live_of(job, CLIENT_KEYS.public)
        serial = live._serial
        time.sleep(0.4)
        assert live._serial == serial
        assert not [event for event in preview.poll() if isinstance(event, MapsChanged)]


def test_a_job_of_another_key_is_not_shown(server):
    with connected_client(server.address) as client, preview_client(server.address, OTHER_KEYS) as stranger:
        stranger.show(scene_of(growing(client)))
        time.sleep(0.3)
        stranger.request_frame(request())
        assert stranger.wait(PreviewFrame).image[0, 0, 0] == 0.25
        assert not [event for event in stranger.polled + stranger.poll() if isinstance(event, MapsChanged)]


def test_a_job_that_is_over_leaves_the_look(server, stand_in):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        job = growing(client)
        client.finish()
        wait_for(client, Result)
        preview.show(scene_of(job))
        assert stand_in.jobs == [None]
        preview.show(scene_of("never heard of", "nor this"))
        assert stand_in.jobs == [None]


def test_who_does_not_look_any_more_is_not_followed(server):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        job = growing(client)
        live = server._service.live_of(job, CLIENT_KEYS.public)
        preview.show(scene_of(job))
        preview.wait(MapsChanged)
        assert live.is_watched
        preview.show(even_scene(1.0))
        assert not live.is_watched
        preview.show(scene_of(job))
        preview.wait(MapsChanged)
        preview.close()
        deadline = time.monotonic() + PATIENCE_S
        while live.is_watched:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def previews_in(client, seconds: float) -> list[MapPreview]:
    time.sleep(seconds)
    return [event for event in client.poll() if isinstance(event, MapPreview)]


def test_a_watched_job_shows_larger_previews_more_often(server):
    with connected_client(server.address) as client:
        client.watch(48, 0.05)
        growing(client)
        wait_for(client, MapPreview)
        shades = set()
        for _ in range(20):
            shades |= {int(event.image[0, 0, 0]) for event in previews_in(client, 0.05) if event.name == "kd"}
        assert len(shades) >= 5
        assert {event.image.shape for event in previews_in(client, 0.3)} == {(32, 32, 4)}
        client.watch(0)
        time.sleep(0.1)
        client.poll()
        few = [event for event in previews_in(client, 1.2) if event.name == "kd"]
        assert len(few) == 1
        assert few[0].image.shape == (64, 64, 4)


@pytest.mark.parametrize("body", [{"size": 2000, "interval_s": 1}, {"size": 1.5, "interval_s": 1}, {"size": 64}])
def test_a_wish_to_watch_is_checked(server, body):
    with raw_client(server.address) as raw:
        job = submit(raw).job
        assert raw.request("watch", body, job).body["code"] == "malformed"
        assert raw.request("watch", {"size": 64, "interval_s": 0}, "?").body["code"] == "unknown_job"
    with connected_client(server.address) as client, pytest.raises(ValueError, match="1024"):
        client.watch(4096)


def test_a_light_is_prepared_as_a_fit_has_it(server):
    environment = np.ascontiguousarray(ENVIRONMENT, dtype=np.float32)
    with preview_client(server.address) as preview:
        preview.request_light(environment)
        light = preview.wait(PreparedLight, PreviewFailed, patience_s=FIT_PATIENCE_S)
        broken = environment.copy()
        broken[0, 0] = np.nan
        preview.request_light(broken)
        assert "not finite" in preview.wait(PreviewFailed).cause
    expected = env_from_latlong(torch.from_numpy(environment), 256).build_mips()
    assert light.key == content_hash(environment)
    assert light.places == expected.layout.places
    assert light.roughnesses == tuple(level.roughness for level in expected.levels)
    np.testing.assert_allclose(light.irradiance, expected.irradiance.detach(), rtol=1e-6)
    atlas = expected.atlas.detach()[0].permute(1, 2, 0).half().numpy()
    np.testing.assert_array_equal(light.atlas[..., :3], atlas)


def test_previews_of_a_job_have_the_size_that_was_asked_for():
    maps = initial_maps(64, alpha=True)
    maps.texels.uniform_()
    maps.texels[..., NORMAL] = torch.tensor([0.0, 0.0, 1.0])
    openness = torch.full((8, 8), 0.5)
    images = preview_images(maps, openness, 64)
    assert {image.shape for image in images.values()} == {(64, 64, 4)}
    kd = (linear_to_srgb(maps.texels[..., KD]) * 255).numpy()
    assert np.abs(images["kd"][..., :3] - kd).max() <= 1.5
    assert (images["orm"][..., 0] == 128).all()
    assert (images["normal"] == [128, 128, 255, 255]).all()
    assert preview_images(maps, None, 32)["kd"].shape == (32, 32, 4)
    assert preview_images(initial_maps((32, 128), alpha=False), openness, 64)["orm"].shape == (16, 64, 4)


def snapshot(value: float = 0.0) -> Snapshot:
    return Snapshot(torch.full((4, 4, 8), value), None, None, None)


def test_copies_are_left_only_when_they_are_wanted():
    live = JobLive()
    assert live.wanted(0) == 0
    live.watch(32, 60.0)
    assert live.wanted(0) == 32
    live.leave(0, snapshot(), 32)
    assert live.wanted(0) == 0  # nobody has taken it
    maps, size, shows_light = live.take_to_show()
    assert (maps.set_index, size, shows_light) == (0, 32, True)
    assert live.wanted(0) == 0  # its time has not come
    live.follow("someone")
    assert live.wanted(0) == live.wanted(1) == FULL_SIZE
    live.leave(0, snapshot(), FULL_SIZE)
    assert [maps.serial for maps in live.latest()] == [2]
    assert live.take_to_show() is None
    live.unfollow("someone")
    assert live.latest() == []


def test_what_maps_cost_keeps_further_ones_back():
    live = JobLive()
    live.watch(32, 0.0)
    live.spend(1.0)
    assert live.wanted(0) == 0
    assert live.maps_share.wait_s() > 0.9 / MAPS_SHARE


def test_a_share_of_time_is_kept_to():
    share, spent, began = TimeShare(0.2), 0.0, time.monotonic()
    while time.monotonic() - began < 0.6:
        if share.wait_s() == 0:
            time.sleep(0.02)
            spent += 0.02
            share.spend(0.02)
        time.sleep(0.001)
    assert 0.06 <= spent <= 0.2 * 0.6 + 0.03 + 0.04


def test_frames_are_held_back_beside_a_job_unless_they_are_final(server, stand_in):
    with connected_client(server.address) as client, preview_client(server.address) as preview:
        job = growing(client)
        live = server._service.live_of(job, CLIENT_KEYS.public)
        preview.show(even_scene(1.0))
        live.preview_share.spend(1.0)
        preview.request_frame(request(1))
        time.sleep(0.2)
        assert not stand_in.seen
        preview.request_frame(request(2, "F12", final=True))
        assert preview.wait(PreviewFrame).number == 2
        client.pause()  # a job that rests loses nothing
        assert preview.wait(PreviewFrame).number == 1


@pytest.fixture(scope="module")
def ball():
    return ball_dataset(8, 48)


def test_a_fit_is_watched_followed_and_its_light_shown(ball, stand_in):
    """All at once beside a real fit on the CPU, within the share of its time."""
    settings = FitSettings(resolution=256, device="cpu", quality="standard", self_shadowing=False, learn_light=True)
    with (
        running_server(run_fit_job, limits=Limits(), make_drawing=lambda: stand_in.drawing) as server,
        connected_client(server.address) as client,
        preview_client(server.address) as preview,
    ):
        client.watch(256, 0.1)
        submit_ball(client, ball, settings)
        job = wait_for(client, Accepted)[-1].job
        live = server._service.live_of(job, CLIENT_KEYS.public)
        spent, spend = [], live.spend
        live.spend = lambda seconds: (spent.append(seconds), spend(seconds))
        progress_until(client, lambda event: event.phase == "fitting", FIT_PATIENCE_S)
        began = time.monotonic()
        stop = threading.Event()
        watching = threading.Thread(target=keep_looking, args=(preview, job, stop))
        watching.start()
        time.sleep(2.0)
        elapsed = time.monotonic() - began
        shown = sum(spent)
        client.finish()
        events = wait_for(client, Result, Failed, patience_s=FIT_PATIENCE_S)
        stop.set()
        watching.join()
    assert isinstance(events[-1], Result)
    sizes = {event.image.shape[0] for event in events if isinstance(event, MapPreview)}
    assert sizes <= {32, 64, 128, 256}
    lights = [event for event in events if isinstance(event, LightPreview)]
    assert lights
    assert lights[0].places[0][0] == 64
    assert stand_in.maps
    assert stand_in.maps[-1][2].shape[2] == 8
    assert stand_in.light.layout.places == lights[0].places
    assert shown <= MAPS_SHARE * elapsed + 0.15


def keep_looking(preview, job: str, stop: threading.Event) -> None:
    preview.set_scene(scene_of(job, job), {})
    preview.wait(SceneReady)
    number = 0
    while not stop.is_set():
        number += 1
        preview.request_frame(request(number))
        preview.wait(PreviewFrame, patience_s=30)


def test_the_light_counts_as_changed_too(server):
    def learn(inputs, settings, report, cancelled):
        light = env_from_latlong(torch.from_numpy(ENVIRONMENT), 16)
        previewer = MapPreviewer(inputs.control, 0, None, light)
        while not cancelled():
            previewer.offer(initial_maps(16, alpha=False))
            time.sleep(0.01)
        return FitResult({}, {})

    with (
        running_server(learn, make_drawing=lambda: StandIn().drawing) as server,
        connected_client(server.address) as client,
        preview_client(server.address) as preview,
    ):
        job = growing(client)
        preview.show(scene_of(job, job))
        changed = {preview.wait(MapsChanged).set_index for _ in range(2)}
        assert changed == {0, LEARNED_LIGHT}
