"""The preview in the real window: before, during and after a fit, by Blender's GPU and by the backend."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from support.window.window_blender import WindowBlender

from render.core.image_io import read_values

FIT_SECONDS = 900.0
VIEW = np.s_[100:640, 70:600]  # of a screenshot: the 3D view without toolbar, sidebar and header


def picture(blender: WindowBlender, path: Path) -> np.ndarray:
    """Take a screenshot; returns its part of the 3D view that shows the object, as values 0..1."""
    blender.screenshot(path)
    return read_values(path)[VIEW][..., :3]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two pictures."""
    return float(np.abs(one - other).mean())


def refined(blender: WindowBlender, seconds: float = 60.0) -> dict:
    """Wait until the view stands still and is drawn as finely as it will be, with its light."""
    blender.wait_for(lambda state: state["preview"]["finest"] and state["preview"]["lit"], seconds)
    for _ in range(5):
        state = blender.next_state()
    return state


def orbit(blender: WindowBlender) -> None:
    """Turn the view with the mouse."""
    blender.drag((300, 500), [(12, 3)] * 12)


@pytest.mark.parametrize("blender", [{"scene": "preview", "views": 24}], indirect=True)
def test_the_preview_follows_a_fit(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.show_preview")
    blender.wait_for(lambda state: state["preview"]["engine"] == "PBRFIT_PREVIEW")
    blender.wait_for(lambda state: state["preview"]["lit"], 120.0)  # it starts the backend
    refined(blender)
    original = picture(blender, screenshots / "preview-1-original.png")
    assert original.std() > 0.05

    blender.click("pbrfit.optimize")
    begun = blender.wait_for(lambda state: state["session"] == "fitting" and state["iteration"] > 30, FIT_SECONDS)
    collected = begun["preview"]["collected"]
    going = blender.wait_for(lambda state: state["preview"]["collected"] > collected + 2)
    blender.next_state()
    half = picture(blender, screenshots / "preview-2-fitting.png")
    assert apart(original, half) > 0.003  # the fit begins with the bake, which the original is shown as
    orbit(blender)
    turned = blender.next_state()
    assert turned["session"] == "fitting"
    assert turned["view"] != going["view"]
    assert turned["preview"]["collected"] > going["preview"]["collected"]  # newer maps have come since then
    during = picture(blender, screenshots / "preview-3-orbited.png")
    assert apart(half, during) > 0.01

    done = blender.wait_for(lambda state: state["session"] in {"done", "failed"}, FIT_SECONDS)
    assert done["session"] == "done", done["message"]
    refined(blender)
    fitted = picture(blender, screenshots / "preview-4-fitted.png")

    shown = {}
    for show in ("KD", "ROUGHNESS", "METALLIC", "OCCLUSION", "NORMAL", "LIGHT", "REFERENCE", "ERROR"):
        blender.set_preview(show=show)
        refined(blender)
        shown[show] = picture(blender, screenshots / f"preview-show-{show.lower()}.png")
    pictures = [fitted, *shown.values()]
    alike = [(i, j) for i in range(len(pictures)) for j in range(i) if apart(pictures[i], pictures[j]) < 0.003]
    assert alike == []
    assert "Error in the view of reference" in blender.state()["preview"]["label"]

    blender.set_preview(show="SHADED", second_view=True)
    blender.wait_for(lambda state: state["preview"]["views"] == 2)
    refined(blender)
    blender.screenshot(screenshots / "preview-5-two-views.png")


@pytest.mark.parametrize("blender", [{"scene": "preview", "views": 24}], indirect=True)
def test_the_backends_frames_and_its_loss(blender: WindowBlender, screenshots: Path) -> None:
    blender.click("pbrfit.show_preview")
    blender.wait_for(lambda state: state["preview"]["lit"], 120.0)
    refined(blender)
    gpu = picture(blender, screenshots / "preview-6-gpu.png")
    blender.set_preview(draw_with="BACKEND")
    blender.wait_for(lambda state: state["preview"]["frames"], 120.0)
    state = refined(blender)
    for _ in range(40):  # frames of a processor take their time
        state = blender.next_state()
    backend = picture(blender, screenshots / "preview-7-backend.png")
    assert apart(gpu, backend) < 0.004
    assert state["preview"]["lines"] == [line for line in state["preview"]["lines"] if "backend" not in line]

    first = max(state["preview"]["frames"])
    orbit(blender)
    moved = blender.wait_for(lambda state: max(state["preview"]["frames"], default=0) > first, 60.0)
    assert moved["preview"]["lines"] == state["preview"]["lines"]

    os.kill(moved["processes"][0], signal.SIGKILL)
    lost = blender.wait_for(lambda state: any("The backend ended" in line for line in state["preview"]["lines"]))
    before = picture(blender, screenshots / "preview-8-lost.png")
    orbit(blender)
    refined(blender)
    after = picture(blender, screenshots / "preview-9-goes-on.png")
    assert apart(before, after) > 0.01
    assert blender.state()["preview"]["drawn"] > lost["preview"]["drawn"]
    blender.click("pbrfit.connect_preview")
    blender.wait_for(lambda state: not any("The backend ended" in line for line in state["preview"]["lines"]))
