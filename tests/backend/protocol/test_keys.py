"""Who may connect: keys, their files, and what becomes of clients without the right ones."""

from __future__ import annotations

import json
import os
import stat
import threading
import time

import pytest
import zmq
from support.server_harness import (
    ATTENTIVE,
    CLIENT_KEYS,
    PATIENCE_S,
    QUICK,
    SERVER_KEYS,
    assert_lives,
    connected_client,
    raw_client,
    run_to_result,
    running_server,
    wait_for,
)

from backend.cli.main import main
from backend.protocol.client.client import BackendClient
from backend.protocol.client.events import Accepted, Connected, Disconnected, Failed
from backend.protocol.key_text import is_key
from backend.protocol.keys import kept_keys, new_keys
from backend.protocol.private_files import KeyFileError
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Message, pack
from backend.server.gatekeeper import AuthorizedKeys


def test_keys_are_new_each_time_and_hide_their_secret():
    one, other = new_keys(), new_keys()
    assert one != other
    assert is_key(one.public)
    assert is_key(one.secret)
    assert one.secret not in repr(one)


@pytest.mark.parametrize("text", ["", "x", "a" * 39, "a" * 41, "~" * 40, "é" * 40, None, b"a" * 40])
def test_what_is_no_key_is_told_from_one(text):
    assert not is_key(text)


def test_kept_keys_stay_and_only_their_user_may_read_them(tmp_path):
    path = tmp_path / "new" / "keys.json"
    keys = kept_keys(path)
    assert kept_keys(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["keys.json"]


def test_keys_made_at_one_time_by_many_are_the_same(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(kept_keys(tmp_path / "keys.json"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"public_key": 1, "secret_key": 2}',
        json.dumps({"public_key": "x" * 40, "secret_key": "y" * 40}),
    ],
)
def test_a_file_without_keys_is_an_error_with_cure(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="new ones"):
        kept_keys(path)


def test_a_pair_that_does_not_belong_together_is_refused(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"public_key": new_keys().public, "secret_key": new_keys().secret}))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="belong together"):
        kept_keys(path)


@pytest.mark.skipif(os.name != "posix", reason="files have no such modes there")
def test_a_secret_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "keys.json"
    kept_keys(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="not secret"):
        kept_keys(path)


POSIX = pytest.mark.skipif(os.name != "posix", reason="files have no such modes there")


@POSIX
def test_the_folder_of_keys_is_for_its_user_alone(tmp_path):
    """Figure before: 0755."""
    kept_keys(tmp_path / "new" / "keys.json")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (tmp_path / "new").chmod(0o755)
    kept_keys(tmp_path / "new" / "keys.json")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o755  # it may hold other things
    kept_keys(tmp_path / "new" / "keys.json", own_folder=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@POSIX
def test_keys_are_not_made_where_others_may_replace_them(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(KeyFileError, match="chmod 700"):
        kept_keys(tmp_path / "open" / "keys.json")
    assert not list((tmp_path / "open").iterdir())


@POSIX
def test_links_are_refused_as_key_files_and_as_their_folder(tmp_path):
    kept_keys(tmp_path / "real" / "keys.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "keys.json")
    with pytest.raises(KeyFileError, match="is a link"):
        kept_keys(tmp_path / "link.json")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    with pytest.raises(KeyFileError, match="is a link"):
        kept_keys(tmp_path / "folder" / "keys.json", own_folder=True)


@POSIX
@pytest.mark.parametrize("spoil", ["world", "group", "link", "folder", "pipe"])
def test_authorized_keys_that_others_may_change_are_refused(tmp_path, spoil):
    path = tmp_path / "authorized_keys"
    path.write_text(CLIENT_KEYS.public)
    path.chmod(0o600)
    assert CLIENT_KEYS.public in (kept := AuthorizedKeys([], path))
    if spoil == "link":
        path.rename(tmp_path / "real")
        path.symlink_to(tmp_path / "real")
    elif spoil == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif spoil == "folder":
        tmp_path.chmod(0o777)
    else:
        path.chmod(0o602 if spoil == "world" else 0o660)
    with pytest.raises(KeyFileError):
        AuthorizedKeys([], path)
    if spoil != "folder":
        assert CLIENT_KEYS.public not in kept  # also where it became so while the server runs


def test_a_key_file_in_a_place_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="Choose a file"):
        kept_keys(tmp_path / "file" / "keys.json")


def test_authorized_keys_are_read_again_when_the_file_changes(tmp_path, caplog):
    path = tmp_path / "authorized_keys"
    keys = [new_keys().public for _ in range(3)]
    authorized = AuthorizedKeys([keys[0]], path)
    assert "cannot be read" in caplog.text
    assert keys[0] in authorized
    assert keys[1] not in authorized
    path.write_text(f"# Blender at work\n\n{keys[1]} a laptop\nnonsense\n")
    assert keys[1] in authorized
    assert "1 lines do not start with a key" in caplog.text
    assert len(authorized) == 2
    path.write_text(f"{keys[2]}\n#{keys[1]}\n")
    assert keys[2] in authorized
    assert keys[1] not in authorized
    path.unlink()
    assert keys[2] not in authorized
    assert keys[0] in authorized


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class RudeSocket:
    """A DEALER socket with the given keys, or without any."""

    def __init__(self, address, server_key="", keys=None):
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys is not None:
            self.socket.curve_serverkey = server_key.encode()
            self.socket.curve_publickey, self.socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        self.socket.connect(address)
        self.socket.send_multipart(pack(Message("hello", session="rude", request="1")))

    def __enter__(self):
        return self.socket

    def __exit__(self, *_):
        self._context.destroy(linger=0)


@pytest.mark.parametrize(
    ("server_key", "keys", "code"),
    [
        ("", None, "handshake"),
        (new_keys().public, CLIENT_KEYS, "handshake"),
        (SERVER_KEYS.public, new_keys(), "key"),
    ],
    ids=["plain", "another backend's key", "unknown client"],
)
def test_clients_without_the_right_keys_are_dropped_counted_and_logged(server, raw, caplog, server_key, keys, code):
    with RudeSocket(server.address, server_key, keys) as rude:
        wait_until(lambda: server.dropped.get(code, 0) > 0)
        assert not rude.poll(200)
        assert run_to_result(raw).body["metrics"]["views"] == 1  # while it goes on trying
    assert set(server.dropped) == {code}
    assert "dropped a client" in caplog.text
    if keys is not None and code == "key":
        assert keys.public in caplog.text
    assert_lives(raw)


def test_many_rude_clients_do_not_fill_the_log(server, raw, caplog):
    for _ in range(30):
        with RudeSocket(server.address, SERVER_KEYS.public, new_keys()):
            pass
    with RudeSocket(server.address, SERVER_KEYS.public, new_keys()):
        wait_until(lambda: server.dropped.get("key", 0) > 0)
    assert caplog.text.count("dropped a client") <= 3
    assert_lives(raw)


def test_bytes_that_are_no_handshake_do_not_end_the_server(server, raw):
    import socket

    host, port = server.address.removeprefix("tcp://").split(":")
    for junk in (
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(1000),
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01CURVE" + bytes(200),
    ):
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(junk)
            time.sleep(0.02)
    assert run_to_result(raw).body["metrics"]["views"] == 1


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "authorized_keys"
    path.write_text(CLIENT_KEYS.public + "\n")
    return path


def test_a_key_that_was_taken_away_ends_its_jobs_and_connections(file):
    """Figure before: the open connection went on."""
    other = new_keys()
    authorized = AuthorizedKeys([other.public], file)
    with (
        running_server(authorized=authorized) as server,
        raw_client(server.address, other) as stays,
        connected_client(server.address, ATTENTIVE) as client,
    ):
        assert_lives(stays)
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        file.write_text("")
        failed = wait_for(client, Failed, Disconnected)[-1]  # it comes back by itself, and is refused
        assert (failed.code, "does not know" in failed.cause) == ("key", True)
        assert not list(server._service.jobs)
        assert server._sessions.keys == [other.public]
        assert server._connections.keys == {other.public}
        assert_lives(stays)


def test_a_message_of_a_key_that_was_just_taken_away_is_refused(file):
    with running_server(authorized=AuthorizedKeys([], file)) as server, raw_client(server.address) as raw:
        assert_lives(raw)
        file.write_text("")
        raw.send(raw.frames("ping"))
        assert not raw.socket.poll(300)
        assert server.dropped["key"] >= 1
        file.write_text(CLIENT_KEYS.public)
        with raw_client(server.address) as again:
            assert_lives(again)


@pytest.mark.parametrize("server_key", ["", "not a key"])
def test_a_connection_without_a_server_key_fails_at_once(server, server_key):
    with connected_client(server.address, server_key=server_key) as client:
        failed = wait_for(client, Failed)[-1]
    assert failed.code == "key"
    assert server.address in failed.cause
    assert "preferences" in failed.cure


def test_a_wrong_server_key_is_named_as_the_likely_cause(server):
    with connected_client(server.address, QUICK, new_keys().public) as client:
        failed = wait_for(client, Failed)[-1]
    assert failed.code == "key"
    assert "public key is another" in failed.cause


def test_a_client_that_the_backend_does_not_know_is_told_so(server):
    client = BackendClient(QUICK)
    client.connect(server.address, SERVER_KEYS.public)
    deadline = time.monotonic() + PATIENCE_S
    while not (events := client.poll()) and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    assert [event.code for event in events] == ["key"]
    assert "does not know" in events[0].cause


def test_a_plain_server_is_not_taken_for_a_backend():
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind("tcp://127.0.0.1:*")
    try:
        address = router.last_endpoint.decode()
        with connected_client(address, QUICK) as client:
            failed = wait_for(client, Failed)[-1]
    finally:
        context.destroy(linger=0)
    # Which end closes the connection first decides what libzmq reports; both causes say that it may be no PBRfit.
    assert (failed.code, failed.cause.split(": ")[0]) in {
        ("unreachable", f"What listens at {address} does not answer as a PBRfit backend."),
        ("key", f"What listens at {address} ends each connection"),
    }


def test_a_backend_that_comes_back_with_other_keys_is_not_spoken_to():
    with running_server() as server, connected_client(server.address, ATTENTIVE) as client:
        wait_for(client, Connected)
        server.stop()
        impostor = zmq.Context()
        socket = impostor.socket(zmq.ROUTER)
        socket.curve_server = True
        keys = new_keys()
        socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        try:
            wait_until(lambda: _bound(socket, server.address))
            assert isinstance(wait_for(client, Disconnected, Failed)[-1], Disconnected)
            assert not socket.poll(0)
        finally:
            impostor.destroy(linger=0)


def _bound(socket, address) -> bool:
    try:
        socket.bind(address)
    except zmq.ZMQError:
        return False
    return True


def test_serving_nobody_is_an_error_with_cure(capsys):
    assert main(["serve"]) == 2
    assert "--client-key" in capsys.readouterr().err


def test_a_client_key_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--client-key", "short"])
    assert "not a public key" in capsys.readouterr().err


def test_a_broken_key_file_is_an_error_with_cure(tmp_path, capsys):
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "keys.json").chmod(0o600)
    arguments = ["serve", f"--client-key={CLIENT_KEYS.public}", "--key-file", str(tmp_path / "keys.json")]
    assert main(arguments) == 2
    assert "holds no keys" in capsys.readouterr().err
