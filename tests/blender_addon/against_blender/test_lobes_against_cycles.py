"""Coat, sheen and emission against Cycles: the spheres of `benchmarks/lobe_truth.py`, fewer pixels and samples."""

from __future__ import annotations

from benchmarks.lobe_truth import compare
from benchmarks.shading_truth import environment_of

# dB in sRGB, of pixels with N.V above 0.15, of all materials of a row; most of what is missing is noise of the references.
FURNACE_DB, SUNSET_DB = 38, {"coat over red": 35, "coat over metal": 30, "emission": 34}


def test_in_a_white_furnace():
    for name, kinds in compare(None, samples=64, pixels=28, full=False).items():
        assert min(kinds["model"]) >= FURNACE_DB, name


def test_in_an_hdri():
    found = compare(environment_of("sunset"), samples=64, pixels=28, full=False)
    for name, kinds in found.items():
        assert min(kinds["model"]) >= SUNSET_DB.get(name, 33), name


def test_a_material_without_its_lobes_is_told_apart():
    found = compare(None, samples=64, pixels=28)
    for name, kinds in found.items():
        assert all(model > without + 3 for model, without in zip(kinds["model"], kinds["without"], strict=True)), name
