"""What small requests may cost a real backend process in memory. Figures before are those of an attack on version 0."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image
from support.backend_process import backend_process
from support.preview_harness import StandIn, even_scene, preview_client, request
from support.server_harness import CLIENT_KEYS, RawClient, assert_lives, raw_client, running_server

from backend.preview.look import MOST_PIXELS, Images, PreviewError
from backend.protocol.client.preview_events import FrameFailed, PreviewFrame
from backend.protocol.frames import MOST_FRAME_SAMPLES, FrameRequest
from backend.protocol.keys import new_keys
from backend.protocol.wire import ProtocolError, content_hash
from backend.server.capacity import Capacity
from backend.server.gatekeeper import AuthorizedKeys

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def process(tmp_path):
    with backend_process(tmp_path) as running:
        yield running


@pytest.fixture
def raw(process):
    with raw_client(process.address) as client:
        yield client


def test_an_array_takes_memory_as_it_arrives(process, raw):
    """Figure before: one byte of each of three arrays of 1 GiB took 3073 MiB."""
    before = process.memory_mib()
    for letter in "abc":
        array = {"dtype": "uint8", "byte_order": "little", "shape": [1 << 30], "hash": letter * 64}
        assert raw.request("submit", {"arrays": {"a": array}}).type == "accepted"
        body = {"hash": letter * 64, "offset": 0, "total": 1 << 30}
        assert raw.request("put", body, data=np.zeros(1, np.uint8)).body["received"] == 1
    assert process.memory_mib(peak=True) - before < 20
    assert_lives(raw)


def described_scene(names: int, number: int) -> dict:
    arrays = {f"{name}": {**UNKNOWN, "hash": f"{number:032d}{name:032d}"} for name in range(names)}
    return {"scene": number, "jobs": [], "arrays": arrays}


UNKNOWN = {"dtype": "uint8", "byte_order": "little", "shape": [1]}
EMPTY = np.frombuffer(b'{"parts": []}', np.uint8)


def test_scenes_of_thousands_of_names_do_not_add_up(process, raw):
    """Figure before: 0.5 MiB more for each, up to 4096 times for each session."""
    send = 60
    raw.request("scene", described_scene(5500, 1), description=EMPTY)
    before = process.memory_mib()
    for number in range(2, send):
        assert raw.request("scene", described_scene(5500, number), description=EMPTY).type == "scene_taken"
    assert process.memory_mib() - before < 30
    refused = raw.request("scene", {**described_scene(0, send), "jobs": ["job"] * 65}, description=EMPTY)
    assert refused.body["code"] == "oversized"


def test_the_names_and_the_json_of_scenes_count_as_what_they_take():
    capacity = Capacity(store_bytes=1 << 20)
    with (
        running_server(capacity=capacity, make_drawing=lambda: StandIn().drawing) as server,
        raw_client(server.address) as raw,
    ):
        assert raw.request("scene", described_scene(200, 1), description=EMPTY).type == "scene_taken"
        text = np.full(1 << 20, ord(" "), np.uint8)
        assert raw.request("scene", described_scene(0, 2), description=text).body["code"] == "store"
        clients = [RawClient(server.address) for _ in range(8)]
        replies = [client.request("scene", described_scene(200, 1), description=EMPTY) for client in clients]
        assert [reply.type for reply in replies].count("error") == 4
        for client in clients:
            client.close()


def png(width: int, height: int) -> np.ndarray:
    """A picture that is all of one grey: a very small file."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG", compress_level=9)
    return np.frombuffer(file.getvalue(), np.uint8)


def test_an_image_that_unfolds_too_far_is_refused_before_it_is_decoded():
    """Figure before: a PNG of 388 KB took 2670 MiB and 18 s."""
    import resource

    import torch

    bomb = png(20000, 20000)
    assert len(bomb) < 400_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PreviewError, match="20000 x 20000 pixels") as caught:
        Images(torch.device("cpu")).of(bomb)
    assert "Scale the image down" in caught.value.cure
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert 8192 * 8192 <= MOST_PIXELS < 20000 * 20000


def test_images_of_a_scene_have_a_limit_together(monkeypatch):
    import torch

    monkeypatch.setattr("backend.preview.look.MOST_IMAGE_BYTES", 3 * 64 * 64 * 4)
    images = Images(torch.device("cpu"))
    some = [png(64, 64).copy() for _ in range(4)]
    for image in some[:3]:
        assert images.of(image).shape == (64, 64, 4)
    with pytest.raises(PreviewError, match="images take more"):
        images.of(some[3])
    images.keep(some[:1])
    assert images.of(some[3]) is not None


def test_a_frame_of_too_many_samples_is_refused_at_both_ends(raw):
    """Figure before: 390 bytes for each of up to 1.7e10 samples."""
    with pytest.raises(ProtocolError, match="samples"):
        request(size=(8192, 8192), spp=4)
    assert request(size=(4096, 4096), spp=7).width == 4096
    raw.request("scene", {"scene": 1, "arrays": {}, "jobs": []}, description=EMPTY)
    for spp in (4, 16):
        body = {**request(size=(8192, 8192), spp=2).to_dict(), "spp": spp}
        refused = raw.request("frame", body)
        assert (refused.body["code"], str(MOST_FRAME_SAMPLES) in refused.body["cause"]) == ("frame", True)


def test_pictures_that_nobody_takes_are_bounded_and_leave_room_for_other_keys():
    other, stand_in = new_keys(), StandIn()
    stand_in.gate.clear()
    frame = request(size=(64, 64)).nbytes
    authorized = AuthorizedKeys([CLIENT_KEYS.public, other.public])
    capacity = Capacity(picture_bytes=8 * frame)
    with (
        running_server(authorized=authorized, capacity=capacity, make_drawing=lambda: stand_in.drawing) as server,
        preview_client(server.address) as greedy,
        preview_client(server.address, other) as modest,
    ):
        greedy.show(even_scene())
        modest.show(even_scene())
        for number in range(6):
            greedy.request_frame(FrameRequest(f"view {number}", number, ID, ID, 64, 64))
        failed = [greedy.wait(FrameFailed) for _ in range(2)]
        assert {(event.code, "on their way" in event.cause) for event in failed} == {("busy", True)}
        modest.request_frame(request(7, size=(64, 64)))
        stand_in.gate.set()
        assert modest.wait(PreviewFrame).number == 7
        assert sorted(greedy.wait(PreviewFrame).number for _ in range(4)) == [0, 1, 2, 3]
        greedy.request_frame(request(8, size=(64, 64)))
        assert greedy.wait(PreviewFrame, FrameFailed).number == 8


ID = tuple(tuple(float(row == column) for column in range(4)) for row in range(4))


def test_too_many_arrays_of_a_job_are_refused(raw):
    arrays = {f"{name}": {**UNKNOWN, "hash": content_hash(json.dumps(name).encode())} for name in range(2100)}
    assert raw.request("submit", {"arrays": arrays}).body["code"] == "oversized"
