"""Large arrays and files travel in pieces."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.cuttable_link import CuttableLink
from support.server_harness import (
    ONE_MIB,
    connected_client,
    put,
    raw_client,
    running_server,
    small_capacity,
    submit,
    wait_for,
)

from backend.job.model import FitResult
from backend.protocol.client.events import Cancelled, Failed, Progress, Result
from backend.protocol.settings import FitSettings
from backend.protocol.transfer import Download, Uploads
from backend.protocol.wire import CHUNK_BYTES, Limits, ProtocolError, content_hash, describe

ROOMY = {"capacity": small_capacity(store_bytes=64 * ONE_MIB), "limits": Limits(frame_bytes=16 * ONE_MIB)}


def noise(mebibytes: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, int(mebibytes * ONE_MIB), dtype=np.uint8)


def give_back(inputs, settings, report, cancelled):
    """The arrays' bytes as files, and three of them, so that a result is large too."""
    return FitResult(
        {f"{index}/{name}": array.tobytes() for name, array in inputs.arrays.items() for index in (0, 1)}, {}
    )


def test_large_arrays_and_results_come_through_whole_and_with_progress():
    arrays = {"a": noise(5.3), "b": noise(2.0, 1).reshape(2, -1), "c": np.zeros(0, np.uint8), "d": np.arange(3.0)}
    with running_server(give_back, **ROOMY) as server, connected_client(server.address) as client:
        client.submit(FitSettings(), arrays)
        client.end_views()
        seen = wait_for(client, Result, Failed, patience_s=30)
    files = seen[-1].files
    assert files == {f"{index}/{name}": array.tobytes() for name, array in arrays.items() for index in (0, 1)}
    for phase, least in (("upload", 5), ("download", 8)):
        fractions = [event.fraction for event in seen if isinstance(event, Progress) and event.phase == phase]
        assert len(fractions) >= least
        assert fractions == sorted(fractions)
        assert fractions[-1] <= 1


def test_a_transfer_goes_on_after_a_lost_connection():
    array = noise(9)
    with running_server(give_back, **ROOMY) as server:
        link = CuttableLink(server.address)
        with connected_client(link.address) as client:
            client.submit(FitSettings(), {"a": array})
            client.end_views()
            cuts, seen = {"upload": 0, "download": 0}, []
            while not seen or not isinstance(seen[-1], (Result, Failed)):
                seen += wait_for(client, Progress, Result, Failed, patience_s=30)
                phase = getattr(seen[-1], "phase", "")
                if cuts.get(phase) == 0 and 0 < seen[-1].fraction < 1:
                    cuts[phase] += 1
                    link.cut()
        link.close()
    assert cuts == {"upload": 1, "download": 1}
    assert seen[-1].files["0/a"] == array.tobytes()


def test_a_cancel_between_the_pieces_is_answered_at_once():
    with running_server(give_back, **ROOMY) as server:
        link = CuttableLink(server.address, delay_s=0.005)  # 4 MiB take a third of a second
        with connected_client(link.address) as client:
            client.submit(FitSettings(), {"a": noise(8)})
            client.end_views()
            while wait_for(client, Progress)[-1].phase != "download":
                pass
            started = time.monotonic()
            client.cancel()
            assert isinstance(wait_for(client, Cancelled, Result)[-1], Cancelled)
            assert time.monotonic() - started < 0.5
            client.submit(FitSettings(), {"b": noise(1)})
            client.end_views()
            assert wait_for(client, Result)
        link.close()


def test_two_clients_that_upload_the_same_array_do_not_disturb_each_other():
    array = noise(12)
    with (
        running_server(give_back, **ROOMY) as server,
        connected_client(server.address) as one,
        connected_client(server.address) as other,
    ):
        for client in (one, other):
            client.submit(FitSettings(), {"a": array})
            client.end_views()
        for client in (one, other):
            assert wait_for(client, Result, Failed, patience_s=30)[-1].files["0/a"] == array.tobytes()


def test_a_client_goes_on_with_what_another_left():
    """The first client ends in the middle; the second met the gap that its pieces would have filled."""
    array = noise(12)
    with running_server(give_back, **ROOMY) as server, raw_client(server.address) as gone:
        job = submit(gone, {"a": array}).job
        first = {"hash": describe(array).hash, "offset": 0, "total": array.nbytes}
        assert gone.request("put", first, data=array[:CHUNK_BYTES]).body["received"] == CHUNK_BYTES
        with connected_client(server.address) as client:
            client.submit(FitSettings(), {"a": array})
            while wait_for(client, Progress)[-1].phase != "upload":
                pass
            gone.request("cancel", job=job)
            client.end_views()
            assert wait_for(client, Result, Failed, patience_s=30)[-1].files["0/a"] == array.tobytes()


def test_pieces_that_make_up_something_else_fail_the_upload_and_may_be_sent_again():
    array = noise(3)
    with running_server(give_back, **ROOMY) as server, raw_client(server.address) as raw:
        submit(raw, {"a": array})
        body = {"hash": describe(array).hash, "offset": 0, "total": array.nbytes}
        raw.request("put", body, data=noise(2, 5))
        reply = raw.request("put", {**body, "offset": 2 * ONE_MIB}, data=array[2 * ONE_MIB :])
        assert reply.body["code"] == "store"
        assert "does not match" in reply.body["cause"]
        assert put(raw, array).body["received"] == array.nbytes


def test_the_backend_answers_while_a_large_result_is_fetched():
    with running_server(give_back, **ROOMY) as server, raw_client(server.address) as raw:
        array = noise(8)
        submit(raw, {"a": array})
        put(raw, array)
        result = raw.event("result")
        for offset in range(0, 8 * ONE_MIB, CHUNK_BYTES):
            raw.send(raw.frames("fetch", {"file": "0/a", "offset": offset}, result.job))
        assert raw.request("ping", job=result.job).body["state"] == "done"


def test_pieces_are_few_at_a_time_and_a_gap_is_filled():
    array = noise(20)
    uploads = Uploads({"a": array})
    sent = [message.body["offset"] for message in uploads.messages()]
    assert sent == [0, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]
    assert list(uploads.messages()) == []
    for _ in sent:  # another client's upload ended after its first piece: these met a gap
        uploads.stored({"hash": "a", "received": CHUNK_BYTES})
    assert next(uploads.messages()).body["offset"] == CHUNK_BYTES


@pytest.mark.parametrize(
    "described", [None, 3, [{}], [{"name": "a", "size": -1, "hash": ""}], [{"name": "a", "size": "x"}]]
)
def test_a_result_that_does_not_describe_its_files_is_not_understood(described):
    with pytest.raises(ProtocolError, match="describe"):
        Download(described)


def test_a_piece_or_file_that_is_not_what_was_described_is_not_taken():
    download = Download([{"name": "a", "size": 3, "hash": content_hash(b"abc")}])
    ((request, size),) = download.messages()
    assert (request.body, size) == ({"file": "a", "offset": 0}, 3)
    with pytest.raises(ProtocolError, match="as long"):
        download.take(request, np.zeros(2, np.uint8))
    download.take(request, np.frombuffer(b"abd", np.uint8))
    assert download.done
    with pytest.raises(ProtocolError, match="hash"):
        download.files()
