"""How well lights tell a texel's unknowns apart: what is known without measuring comes out, and Studio does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.one_closure import addon_module
from benchmarks.studio_lights import NAMES, cases, lamp, measure, open_sky, prefiltered, standard_errors, summary

NORMALS = 4


def errors_in(*images: np.ndarray) -> torch.Tensor:
    return standard_errors(measure([prefiltered(image, is_rendered=False) for image in images], NORMALS))


@pytest.fixture(scope="module")
def studio() -> np.ndarray:
    return addon_module("references.studio_designs").studio_lights(1.0)


def test_studio_tells_far_more_than_a_gray_sky(studio):
    gray = errors_in(np.ones((32, 64, 3), np.float32)).flatten(0, 1)
    worst = [torch.quantile(errors.flatten(0, 1), 0.95, dim=0) for errors in (gray[None], errors_in(*studio))]
    gain = dict(zip(NAMES, (worst[0] / worst[1]).tolist(), strict=True))
    assert gain["roughness"] > 3.5
    assert gain["metallic"] > 3
    assert gain["base color"] > 1.8
    assert gain["normal"] > 1.8


def test_what_shines_from_one_side_says_nothing_of_the_others():
    """An error of 1 is what is known beforehand: that an unknown is somewhere in its range."""
    errors = errors_in(lamp())
    assert errors.max() == pytest.approx(1.0, abs=1e-3)
    assert ((errors > 0) & (errors <= 1)).all()
    result = summary(measure([prefiltered(lamp())], NORMALS))
    assert result["score"] > 0.1


def test_a_cap_hides_a_quarter_of_the_sky():
    image = np.ones((128, 256, 3), np.float32)
    rows = np.cos((0.5 - (np.arange(128) + 0.5) / 128) * np.pi)[:, None, None]
    for axis in ((0.0, 0.0, 1.0), (0.6, -0.8, 0.0)):
        hidden = 1 - (open_sky(image, axis) * rows).sum() / (rows.sum() * 256)
        assert hidden == pytest.approx(0.25, abs=0.01)


def test_a_missing_hdri_is_said_and_left_out(tmp_path, capsys):
    assert not any("forest" in name for name in cases(tmp_path))
    assert "no forest_1k.hdr" in capsys.readouterr().out


def test_a_look_is_noisier_in_lamps_of_several_colors_than_under_a_gray_sky():
    """One lamp alone is sampled where it is; which of two a sample meets is chance."""
    red, blue = np.array([1.0, 0.1, 0.1], np.float32), np.array([0.1, 0.1, 1.0], np.float32)
    lamps = lamp() * red + np.roll(lamp(), 128, axis=1) * blue
    flat, several = (float(prefiltered(image).noise) * 255 for image in (np.ones((32, 64, 3), np.float32), lamps))
    assert 2 < flat < several
