"""`pbrfit keys`, and where `pbrfit serve` listens."""

from __future__ import annotations

import argparse
import stat

import pytest

from backend.cli.key_arguments import listen_address
from backend.cli.main import argument_parser, main
from backend.protocol.authorized_keys import read_keys
from backend.protocol.keys import kept_keys, new_keys

KEY, OTHER = new_keys().public, new_keys().public


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user's folder for settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    return tmp_path / "pbrfit"


def keys(*arguments: str) -> int:
    return main(["keys", *arguments])


def test_keys_are_made_once_and_shown(home, capsys):
    assert keys("show") == 0
    assert "pbrfit keys make" in capsys.readouterr().out
    assert keys("make") == keys("make") == 0
    printed = capsys.readouterr().out.split()
    assert printed == [kept_keys(home / "backend-key.json").public] * 2
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    keys("show")
    assert printed[0] in capsys.readouterr().out


def test_a_client_is_let_in_and_put_out_by_name_or_key(home, capsys):
    assert keys("allow", "--", KEY, "a laptop") == 0
    assert keys("allow", "--", OTHER, "a desk") == 0
    assert keys("allow", "--", KEY) == 0
    assert "already" in capsys.readouterr().out
    file = home / "authorized_keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_keys(file.read_text()).keys == {KEY: "a laptop", OTHER: "a desk"}
    keys("show")
    assert f"{KEY} a laptop" in capsys.readouterr().out
    assert keys("revoke", "a laptop") == 0
    assert keys("revoke", "--", OTHER) == 0
    assert read_keys(file.read_text()).keys == {}
    assert file.read_text().startswith("#")
    assert keys("revoke", "nobody") == 2
    assert "keys show" in capsys.readouterr().err


def test_a_name_cannot_bring_in_a_second_line(home, capsys):
    assert keys("allow", "--", KEY, f"a\n{OTHER}") == 2
    assert not (home / "authorized_keys").exists()


def test_a_file_that_others_may_change_is_left_alone(home, capsys):
    keys("allow", "--", KEY)
    (home / "authorized_keys").chmod(0o666)
    assert keys("allow", "--", OTHER) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert main(["serve"]) == 2  # which takes this file by itself
    assert "chmod 600" in capsys.readouterr().err


def test_what_is_for_people_is_told_from_keys():
    found = read_keys(f"\n{KEY} somebody\n# a remark\n#{OTHER}\nnonsense\n")
    assert (found.keys, found.other_lines) == ({KEY: "somebody"}, 1)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:5555", "tcp://0.0.0.0:5555"),
        ("host.example", "tcp://host.example:*"),
        ("[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_where_to_listen_is_a_host_and_a_port(text, address):
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", ":5555", "host:99999", "tcp://host:1", "a b:1", "host:", "::1"])
def test_what_is_no_host_and_port_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        listen_address(text)


def test_nothing_listens_for_other_machines_unless_told_to():
    assert argument_parser().parse_args(["serve"]).address == "tcp://127.0.0.1:*"
    assert argument_parser().parse_args(["serve", "--bind", "0.0.0.0:5555"]).address == "tcp://0.0.0.0:5555"
    with pytest.raises(SystemExit):
        argument_parser().parse_args(["serve", "--bind", "0.0.0.0:5555", "--address", "tcp://127.0.0.1:1"])
