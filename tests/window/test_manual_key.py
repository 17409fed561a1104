"""F1 over a button in the sidebar opens the page about it in the web browser, from the extension's own files."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from support.window.window_blender import WindowBlender

import build_addon

BROWSER_SECONDS = 20.0


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The addresses that the web browser was given, a line each: a browser that writes them down."""
    if not build_addon.manual_files(build_addon.source_directory()):
        pytest.skip("the extension is built without the manual here")
    addresses, browser = tmp_path / "addresses", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{addresses}"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    return addresses


def test_f1_over_a_button(opened: Path, blender: WindowBlender) -> None:
    blender.xdotool("mousemove", *blender.find_button("pbrfit.optimize"))
    blender.next_state()
    blender.xdotool("key", "F1")
    deadline = time.monotonic() + BROWSER_SECONDS
    while not opened.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    (address,) = opened.read_text().splitlines()
    page = Path(url2pathname(urlparse(address).path))
    assert address.startswith("file:///")
    assert page.name == "first-fit-three-clicks.html"
    assert "../first-fit.html#three-clicks" in page.read_text(encoding="utf-8")
    assert 'id="three-clicks"' in (page.parent.parent / "first-fit.html").read_text(encoding="utf-8")
