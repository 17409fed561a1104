"""Estimates learn from the fits of this machine, and a fit knows from its start how long it will take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.blender.scenes import ready_cube, small_fit
from support.blender.session_steps import finish, start

bpy = pytest.importorskip("bpy")


@pytest.fixture
def past(addon):
    module = addon.session.past_fits
    file = Path(bpy.utils.extension_path_user(addon.name, create=True)) / module.FILE
    file.unlink(missing_ok=True)
    module.forget()
    yield SimpleNamespace(module=module, file=file)
    file.unlink(missing_ok=True)
    module.forget()


def kind(past, **changes):
    of = past.module.FitKind(("Paint",), "COMPOSITE", 1, "cpu", "draft")
    return dataclasses.replace(of, **changes)


GUESS = {"render": 10.0, "fit": 20.0}


def test_nothing_known_leaves_the_guess(past) -> None:
    assert past.module.learned(GUESS, kind(past)) == GUESS


def test_the_most_alike_fits_decide_each_part(past) -> None:
    learned, remember, one = past.module.learned, past.module.remember, past.module.PastFit
    remember(one(kind(past, materials=("Wood",), quality="high"), GUESS, {"render": 5.0, "fit": 60.0}))
    assert learned(GUESS, kind(past)) == {"render": 5.0, "fit": 60.0}  # only the device is the same
    remember(one(kind(past, materials=("Wood",)), GUESS, {"render": 20.0, "fit": 10.0}))
    assert learned(GUESS, kind(past)) == {"render": 20.0, "fit": 10.0}
    remember(one(kind(past), GUESS, {"render": 30.0, "fit": 40.0}))
    assert learned({"render": 1.0, "fit": 1.0}, kind(past)) == {"render": 3.0, "fit": 2.0}
    assert learned(GUESS, kind(past, device="cuda")) == GUESS


def test_only_the_same_material_tells_that_a_part_is_not_needed(past) -> None:
    past.module.remember(past.module.PastFit(kind(past), GUESS, {"render": 20.0, "fit": 0.0}))
    assert past.module.learned(GUESS, kind(past)) == {"render": 20.0, "fit": 0.0}
    assert past.module.learned(GUESS, kind(past, materials=("Wood",))) == {"render": 20.0, "fit": 20.0}


def test_the_file_is_bounded_and_read_by_the_next_blender(past) -> None:
    module = past.module
    for number in range(module.MOST_FITS + 5):
        module.remember(module.PastFit(kind(past), GUESS, {"render": 1.0 + number, "fit": 1.0}))
    written = module.past_fits()
    module.forget()
    assert module.past_fits() == written
    assert len(json.loads(past.file.read_text())) == module.MOST_FITS
    assert written[-1].seconds["render"] == module.MOST_FITS + 5
    assert module.last_device() == "cpu"
    assert [path.name for path in past.file.parent.glob(f".{module.FILE}*")] == []


@pytest.mark.parametrize("text", ["", "{", "[1, {}]", '[{"of": 3, "guess": {}, "seconds": {}}]', '{"a": 1}', "\x00"])
def test_a_broken_file_is_no_memory(past, text) -> None:
    past.file.write_text(text)
    past.module.forget()
    assert past.module.past_fits() == []


def test_after_the_first_fit_the_estimate_is_within_30_percent(addon, past) -> None:
    ready_cube()
    small_fit()
    session = start(addon)
    finish(session)
    took = session.result.seconds["total"]
    (known,) = past.module.past_fits()
    assert known.of.device in {"cpu", "cuda"}
    bpy.ops.pbrfit.compare()  # the original is shown again
    assert addon.ui.facts.estimate_for(bpy.context).seconds == pytest.approx(took, rel=0.3)
    again = start(addon)
    left = again.poll().time_left
    assert left == pytest.approx(took, rel=0.3, abs=1.0)  # from the start
    again.cancel()
    assert len(past.module.past_fits()) == 1  # what is cancelled tells nothing


def test_what_was_paused_tells_nothing(addon, past) -> None:
    ready_cube()
    small_fit()
    session = start(addon)
    session.pause()
    assert session.poll().time_left is None
    session.go_on()
    finish(session)
    assert past.module.past_fits() == []
