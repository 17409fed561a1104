"""What a comparison found, in words."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("kept", "score", "text"),
    [
        ("BAKE", {"bake_db": 40.04}, "Bake 40.0 dB in own light: so near that nothing was fitted"),
        ("FIT", {"bake_db": 25.3, "fit_db": 31.0}, "Bake 25.3, fit 31.0 dB in own light: the fit is kept"),
        (
            "ROUND_1",
            {"bake_db": 25.3, "fit_db": 31.0, "round_1_db": 33.0},
            "Bake 25.3, fit 31.0, corrected fit 33.0 dB in own light: the corrected fit is kept",
        ),
        (
            "FIT",
            {"fit_db": 31.0, "round_1_db": 33.0, "round_2_db": 32.0},
            "Fit 31.0, corrected fit 33.0, fit corrected 2 times 32.0 dB in own light: the fit is kept",
        ),
    ],
)
def test_what_is_kept_and_why(addon, kept, score, text) -> None:
    choice = {"kept": kept, "scores": {"own": score}}
    assert addon.session.verdict_text.compared_text(choice) == text


def test_of_what_no_view_shows_nothing_is_said(addon) -> None:
    assert addon.session.verdict_text.compared_text({"kept": "BAKE", "scores": {}}) == ""
