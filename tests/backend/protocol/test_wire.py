from __future__ import annotations

import json

import numpy as np
import pytest

from backend.protocol.transfer import piece_message
from backend.protocol.wire import (
    DTYPE_NAMES,
    PIECE_TYPES,
    Limits,
    Message,
    ProtocolError,
    content_hash,
    pack,
    plain,
    unpack,
)


def changed(frames, /, **header_values):
    header = json.loads(frames[0])
    for name, value in header_values.items():
        if value is None:
            del header[name]
        else:
            header[name] = value
    return [json.dumps(header).encode(), *frames[1:]]


def changed_array(frames, /, **values):
    described = json.loads(frames[0])["frames"]
    described[0].update(values)
    return changed(frames, frames=described)


@pytest.fixture
def frames():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    return pack(Message("view", {"index": 1}, {"image": array}, "s", "r", "j", 3))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_every_dtype_and_empty_arrays_survive(dtype, shape):
    array = (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(dtype)
    message = unpack([bytes(frame) for frame in pack(Message("x", {"n": 1}, {"a": array}))])
    assert message.arrays["a"].dtype == array.dtype
    assert message.arrays["a"].shape == shape
    np.testing.assert_array_equal(message.arrays["a"], array)


def test_header_values_survive(frames):
    message = unpack(frames)
    assert (message.type, message.session, message.request, message.job, message.seq) == ("view", "s", "r", "j", 3)
    assert message.body == {"index": 1}


def test_big_endian_and_strided_arrays_arrive_as_the_same_values():
    big = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    array = unpack(pack(Message("x", arrays={"a": big}))).arrays["a"]
    np.testing.assert_array_equal(array, big)
    assert array.dtype.isnative


def test_an_array_at_an_odd_address_is_readable(frames):
    odd = memoryview(b"?" + bytes(frames[1]))[1:]
    assert unpack([frames[0], odd]).arrays["image"].flags.aligned


def test_large_arrays_are_not_copied():
    array = np.zeros(1000, np.float32)
    sent = pack(Message("x", arrays={"a": array}))
    assert np.shares_memory(np.frombuffer(sent[1], np.float32), array)
    assert np.shares_memory(unpack(sent).arrays["a"], array)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([object()]), [1.0]])
def test_other_dtypes_are_not_sent(array):
    with pytest.raises(ProtocolError, match="float16"):
        pack(Message("x", arrays={"a": array}))


def test_plain_turns_numpy_into_json_and_what_is_not_finite_into_null():
    values = {"a": np.float32(0.5), "b": (np.int64(3), float("inf")), "c": np.bool_(True), "d": float("nan")}
    assert plain(values) == {"a": 0.5, "b": [3, None], "c": True, "d": None}
    with pytest.raises(TypeError, match="ndarray"):
        plain({"a": np.zeros(3)})


@pytest.mark.parametrize(
    ("header_values", "code"),
    [
        ({"protocol": 2}, "version"),
        ({"protocol": None}, "version"),
        ({"type": None}, "malformed"),
        ({"type": 3}, "malformed"),
        ({"type": "x" * 65}, "malformed"),
        ({"body": []}, "malformed"),
        ({"seq": "1"}, "malformed"),
        ({"seq": True}, "malformed"),
        ({"job": 5}, "malformed"),
        ({"session": "s" * 100}, "malformed"),
        ({"frames": {}}, "malformed"),
        ({"frames": []}, "malformed"),
        ({"frames": [7]}, "array"),
    ],
)
def test_a_bad_header_is_refused(frames, header_values, code):
    with pytest.raises(ProtocolError) as caught:
        unpack(changed(frames, **header_values))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"dtype": "object"}, "array"),
        ({"dtype": ["float32"]}, "array"),
        ({"byte_order": "big"}, "array"),
        ({"shape": [2, -3]}, "array"),
        ({"shape": [2.0, 3]}, "array"),
        ({"shape": [True, 6]}, "array"),
        ({"shape": 6}, "array"),
        ({"shape": [1] * 9}, "array"),
        ({"hash": "ab"}, "array"),
        ({"shape": [2, 4]}, "size"),
        ({"shape": [2**40, 2**40]}, "size"),
        ({"shape": [0, 2**40]}, "size"),
        ({"dtype": "uint8", "shape": [0, 2**31, 2**32]}, "size"),
        ({"dtype": "float64"}, "size"),
        ({"hash": "0" * 64}, "hash"),
        ({"name": ""}, "malformed"),
        ({"name": 3}, "malformed"),
    ],
)
def test_a_bad_array_is_refused(frames, values, code):
    with pytest.raises(ProtocolError) as caught:
        unpack(changed_array(frames, **values))
    assert caught.value.code == code
    assert (caught.value.session, caught.value.request) == ("s", "r")


def test_two_arrays_of_one_name_are_refused(frames):
    described = json.loads(frames[0])["frames"] * 2
    with pytest.raises(ProtocolError, match="name of its own"):
        unpack(changed([*frames, frames[1]], frames=described))


def test_a_changed_byte_is_noticed(frames):
    content = bytearray(frames[1])
    content[5] ^= 1
    with pytest.raises(ProtocolError) as caught:
        unpack([frames[0], content])
    assert caught.value.code == "hash"


@pytest.mark.parametrize(
    "header",
    [b"", b"\xff\xfe", b"{", b"[]", b"null", b'{"protocol":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000],
)
def test_garbage_instead_of_a_header_is_refused(header):
    with pytest.raises(ProtocolError) as caught:
        unpack([header])
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "limits", [Limits(header_bytes=10), Limits(frame_bytes=10), Limits(message_bytes=30), Limits(frames=0)]
)
def test_more_than_the_limits_is_refused(frames, limits):
    with pytest.raises(ProtocolError) as caught:
        unpack(frames, limits)
    assert caught.value.code == "oversized"


def test_no_frames_at_all_are_refused():
    with pytest.raises(ProtocolError):
        unpack([])


def test_the_hash_is_of_the_content_alone():
    assert content_hash(np.zeros(4, np.uint8)) == content_hash(b"\0" * 4)


@pytest.mark.parametrize("kind", PIECE_TYPES)
def test_a_piece_may_come_without_a_hash_and_a_hash_that_comes_is_checked(kind):
    piece = np.arange(9, dtype=np.uint8)
    header, data = pack(piece_message(kind, {}, piece))
    assert unpack([header, data]).descriptions["data"].hash == ""
    with pytest.raises(ProtocolError, match="hash"):
        unpack([header.replace(kind.encode(), b"view"), data])
    with_hash = pack(Message(kind, arrays={"data": piece}))
    assert unpack(with_hash).descriptions["data"].hash == content_hash(piece)
    with pytest.raises(ProtocolError, match="does not match"):
        unpack([with_hash[0], bytes(9)])
    for other in (b"null", b'"00"', b"0"):
        with pytest.raises(ProtocolError, match="hash"):
            unpack([header.replace(b'"hash":""', b'"hash":' + other), data])
