"""Texts in lines of a given width."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")


def lines(addon, text: str, width: float) -> list[str]:
    return addon.common.text_width.lines_within(text, width, len)


def test_lines_are_as_long_as_fits(addon) -> None:
    assert lines(addon, "one two three four", 8) == ["one two", "three", "four"]
    assert lines(addon, "one two three four", 18) == ["one two three four"]
    assert lines(addon, "one\ntwo", 18) == ["one", "two"]
    assert lines(addon, "", 8) == []


def test_only_a_word_that_is_too_long_is_broken(addon) -> None:
    assert lines(addon, "in /a/long/path here", 6) == ["in", "/a/lon", "g/path", "here"]
    assert lines(addon, "abc", 0.5) == ["a", "b", "c"]


def test_letters_are_measured(addon) -> None:
    measure = addon.common.text_width.text_width
    assert measure(bpy.context, "WWWW") > 2.0 * measure(bpy.context, "iiii") > 0.0
