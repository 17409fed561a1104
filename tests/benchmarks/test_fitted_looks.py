"""The table of fitted looks."""

from __future__ import annotations

import numpy as np

from benchmarks import fitted_looks
from benchmarks.__main__ import main
from render.core.image_io import read_image

MIXED = {
    "exact": False,
    "bake": {"studio": 30.0, "courtyard": 28.0},
    "fit": {"studio": 34.5, "courtyard": None},
    "compared": [{"kept": "FIT"}],
    "seconds": {"to_material": 200.4},
}
PLAIN = {
    "exact": True,
    "bake": None,
    "fit": {"studio": None, "courtyard": 60.0},
    "compared": [],
    "seconds": {"to_material": 5.0},
    "base_color_db": 61.23,
}


def test_a_row_shows_bake_and_fit_in_each_world():
    assert fitted_looks.cells("rust", MIXED) == [
        *("rust", "30.0 / 28.0", "34.5 / equal", "fit"),
        *("+4.5 / +62.0", "-", 200.4),
    ]
    assert fitted_looks.cells("plain", PLAIN) == ["plain", "-", "equal / 60.0", "exact", "-", "61.2", 5.0]


def test_the_summary_is_of_looks_that_no_bake_says_exactly():
    assert fitted_looks.summary({"plain": PLAIN}) == ""
    text = fitted_looks.summary({"plain": PLAIN, "rust": MIXED})
    assert "1 looks" in text
    assert "34.5 dB own, 90.0 dB unseen" in text
    assert "+4.5 at least" in text


def test_the_sheet_has_original_bake_and_fit_of_each_world(tmp_path):
    for kind, value in (("bake", 0.25), ("fit", 0.5)):
        images = {"studio/own": np.full((4, 4, 3), 1.0), "studio/new": np.full((4, 4, 3), value)}
        (tmp_path / "rust").mkdir(exist_ok=True)
        np.savez(tmp_path / "rust" / f"{kind}.npz", **images)
    fitted_looks.draw(tmp_path, ["rust", "plain"], tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (4, 12, 3)
    assert sheet[0, [0, 4, 8], 0].tolist() == [255, 64, 128]


def test_a_look_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(fitted_looks, "run_program", lambda _command: '{"plain": {"kinds": ["EXACT"], "equal": []}}\n')
    assert main(["looks", "--only", "nonsense"]) == 2
    assert "no look nonsense" in capsys.readouterr().err
