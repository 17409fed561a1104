"""Notifications of the system: shown by a real server on a D-Bus session, and nothing of a text is ever run."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from support.notification_server import notification_server

HOSTILE = (
    "'; touch {made}; '",
    "$(touch {made}) `touch {made}` %s %n",
    '" -e "do shell script "touch {made}""',
    "--help",
    "-e x",
    "<b>big</b> & <img src=x>",
    "\\' \\ \\n 'a' \"b\"",
    "@as [] {made}",
    "Überzug 油漆 🎨",
)
PATIENCE_SECONDS = 20.0


def programs(folder: Path, *names: str) -> Path:
    """A folder with links to these programs only."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def stub(folder: Path, name: str) -> Path:
    """A program of that name that writes its arguments, and what of the environment is a notification's, to a file."""
    folder.mkdir(exist_ok=True)
    path, written = folder / name, folder / "written"
    path.write_text(
        f"#!{sys.executable} -I\nimport json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k in ('PBRFIT_TITLE', 'PBRFIT_TEXT')}\n"
        f"open({str(written) + '.part'!r}, 'w').write(json.dumps([sys.argv[1:], told]))\n"
        f"os.replace({str(written) + '.part'!r}, {str(written)!r})\n"
    )
    path.chmod(0o755)
    return written


def waited_for(ready) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(
    not shutil.which("dbus-daemon") or not shutil.which("gdbus"), reason="there is no dbus-daemon or no gdbus"
)
def test_a_server_shows_what_was_said(addon, monkeypatch, tmp_path) -> None:
    made = tmp_path / "made"
    only = programs(tmp_path / "bin", "gdbus")
    with notification_server(tmp_path) as (address, path):
        monkeypatch.setenv("PATH", str(only))
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        said = [words.format(made=made) if "{made}" in words else words for words in HOSTILE]
        for number, words in enumerate(said):
            began = time.monotonic()
            assert addon.common.notifying.notify("PBRfit: the fit is done", words)
            assert time.monotonic() - began < 0.5  # nothing waits
            waited_for(lambda number=number: len(path.read_text().splitlines()) == number + 1)
        shown = [json.loads(line) for line in path.read_text().splitlines()]
    assert {tuple(item[:4]) for item in shown} == {("susssasa{sv}i", "Blender", "blender", "PBRfit: the fit is done")}
    escaped = [words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for words in said]
    assert [item[4] for item in shown] == escaped
    assert not made.exists()


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize(
    ("platform", "program"), [("linux", "notify-send"), ("darwin", "osascript"), ("win32", "powershell")]
)
def test_a_text_is_one_argument_or_a_variable(addon, monkeypatch, tmp_path, platform, program, words) -> None:
    notifying, folder, made = addon.common.notifying, tmp_path / "bin", tmp_path / "made"
    written = stub(folder, program)
    monkeypatch.setenv("PATH", str(folder))
    words = words.replace("{made}", str(made))
    assert notifying.notify("Title", words, platform)
    waited_for(written.exists)
    arguments, told = json.loads(written.read_text())
    if platform == "win32":
        assert told == {"PBRFIT_TITLE": "Title", "PBRFIT_TEXT": words}
        assert arguments[-1] == notifying.TOAST_SCRIPT
        assert words not in " ".join(arguments)
    else:
        assert told == {}
        assert arguments[-2] == "Title"
        assert arguments[-1] == (words if platform == "darwin" else notifying.html.escape(words, quote=False))
        assert arguments[-3] == ("end run" if platform == "darwin" else "--")
    assert not made.exists()


def test_without_a_program_nothing_is_shown(addon, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for platform in ("linux", "darwin", "win32"):
        assert addon.common.notifying.notification_call("Title", "Text", platform) is None
    assert not addon.common.notifying.notify("Title", "Text")


def test_a_text_is_one_line_and_not_too_long(addon) -> None:
    plain = addon.common.notifying.plain
    assert plain("one\ntwo\x1b[31m\x00 three\u202e") == "one two [31m three"
    assert len(plain("word " * 1000)) == addon.common.notifying.MOST_CHARACTERS
