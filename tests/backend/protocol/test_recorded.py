"""The wire format, byte for byte: messages that were recorded on the wire before, of every type and form.

tests/support/recorded/messages.json holds frames as base64, one message a list, as server and clients sent them in a run of
the tests. A change that cannot reproduce them changes the protocol, and so its version.
"""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest

from backend.protocol.frames import FrameRequest
from backend.protocol.light_message import light_message, read_light
from backend.protocol.scene_description import SceneDescription
from backend.protocol.settings import FitSettings
from backend.protocol.wire import ArrayDescription, Message, ProtocolError, pack, plain, unpack
from backend.server.view_message import read_view

RECORDED = Path(__file__).parents[2] / "support" / "recorded"
MESSAGES = [
    [base64.b64decode(frame) for frame in frames]
    for frames in json.loads((RECORDED / "messages.json").read_text(encoding="utf-8"))
]
SCENES = json.loads((RECORDED / "scenes.json").read_text(encoding="utf-8"))
REQUESTS = {
    "acknowledge", "attach", "cancel", "end_views", "fetch", "finish", "frame", "frame_seen", "get_result", "hello",
    "leave_preview", "light", "pause", "ping", "preview_seen", "put", "resume", "scene", "submit", "view", "watch",
}  # fmt: skip
REPLIES_AND_EVENTS = {
    "accepted", "attached", "cancelled", "error", "failed", "frame_piece", "light_failed", "light_preview",
    "light_ready", "light_taken", "maps_changed", "ok", "piece",
    "pong", "preview", "progress", "result", "scene_failed", "scene_ready", "scene_taken", "stored", "welcome",
}  # fmt: skip


def kind_of(frames: list[bytes]) -> str:
    return json.loads(frames[0])["type"]


def recorded(kind: str) -> list[Message]:
    return [unpack(frames) for frames in MESSAGES if kind_of(frames) == kind]


@pytest.mark.parametrize("frames", MESSAGES, ids=kind_of)
def test_a_recorded_message_is_understood_and_packed_again_to_the_same_bytes(frames):
    message = unpack(frames)
    assert [bytes(frame) for frame in pack(message)] == frames
    message.descriptions = {}  # so that every array is described, and hashed, again
    assert [bytes(frame) for frame in pack(message)] == frames


def test_every_type_of_message_was_recorded():
    assert {kind_of(frames) for frames in MESSAGES} == REQUESTS | REPLIES_AND_EVENTS


def test_settings_are_written_as_they_were():
    for message in recorded("submit"):
        values = message.body["settings"]
        written = FitSettings.from_dict(values).to_dict()
        assert json.dumps({name: written[name] for name in values}) == json.dumps(values)
        for described in message.body["arrays"].values():
            assert json.dumps(ArrayDescription.from_dict(described).to_dict()) == json.dumps(described)
    assert list(FitSettings().to_dict().items()) == [
        ("resolution", 1024), ("maps", ["kd", "ks", "normal"]), ("learn_light", False), ("device", "auto"), ("seed", 0),
        ("quality", "standard"), ("shading", "principled"), ("self_shadowing", True),
        ("correction", 0),
    ]  # fmt: skip


def test_nvdiffrecs_shading_keeps_its_word_on_the_wire():
    assert FitSettings(shading="nvdiffrec").to_dict()["shading"] == "seed"
    assert FitSettings.from_dict({"shading": "seed"}) == FitSettings(shading="nvdiffrec")


def test_frames_are_asked_for_as_they_were():
    good = 0
    for message in recorded("frame"):
        with contextlib.suppress(ProtocolError):  # some were recorded because they were refused
            assert json.dumps(plain(FrameRequest.from_dict(message.body).to_dict())) == json.dumps(message.body)
            good += 1
    assert good >= 1


def test_views_are_read():
    views = []
    for message in recorded("view"):
        with contextlib.suppress(ProtocolError):  # as above
            views.append(read_view(message))
    assert [view.index for view in views] == [0] * len(views)
    assert views


@pytest.mark.parametrize("name", SCENES)
def test_a_recorded_scene_is_read_and_written_again_to_the_same_bytes(name):
    text = SCENES[name]["description"]
    scene = SceneDescription.from_dict(json.loads(text))
    assert json.dumps(plain(scene.to_dict()), allow_nan=False, separators=(",", ":")) == text
    assert len(scene.parts) == {"empty": 0, "parts": 3, "learned light": 1, "plain": 1}[name]


def test_a_light_travels_as_it_did():
    for message in recorded("light_ready") + recorded("light_preview"):
        again = light_message(message.type, read_light(message))
        assert json.dumps(plain(again.body)) == json.dumps(message.body)
