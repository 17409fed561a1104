"""Our renderer against golden outputs, file by file and check by check.

Two kinds of files, read by the same checks: those of `support/golden`, which come with the tests and hold what plain NumPy
gives (support/golden/make.py), and nvdiffrec's recorded outputs, those of `golden/` in the test data; the variable
PBRFIT_GOLDEN names another folder of the same layout. A file's name up to its letter says what it holds; a file no check
knows fails. With `pytest -m cuda` the same runs on an NVIDIA GPU, with the portable rasterizer and with nvdiffrast.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.data_folder import DATA
from support.golden import make
from support.parity import image as parity_image
from support.parity import light as parity_light
from support.parity import texture as parity_texture
from support.parity.golden import Golden

from render.raster.portable import visible_fragments

MODULES = (parity_light, parity_texture, parity_image)
RECORDED = Path(os.environ.get("PBRFIT_GOLDEN") or DATA / "golden")
OURS = sorted(make.FOLDER.glob("*.npz"))
FILES = [*OURS, *sorted(RECORDED.glob("*.npz"))]
PROVIDERS = [
    pytest.param("cpu", "portable", id="cpu"),
    pytest.param("cuda", "portable", id="cuda", marks=pytest.mark.cuda),
    pytest.param("cuda", "nvdiffrast", id="cuda-nvdiffrast", marks=pytest.mark.cuda),
]
# The others take half a minute each: they hold BRDF integrals.
QUICK_TO_MAKE = sorted(set(make.FILES) - {"fg_lut_ours", "shade_ours"})


def checks_of(path: Path) -> list:
    """The checks of the longest prefix that the file's name begins with."""
    prefixes = [prefix for module in MODULES for prefix in module.CHECKS if path.stem.startswith(prefix)]
    if not prefixes:
        return [unknown]
    longest = max(prefixes, key=len)
    return [check for module in MODULES for check in module.CHECKS.get(longest, [])]


def unknown(golden: Golden) -> None:
    pytest.fail(f"no check knows what {golden.path.name} holds")


CASES = [
    pytest.param(path, check, id=f"{path.stem}-{check.__name__.removeprefix('check_')}")
    for path in FILES
    for check in checks_of(path)
]
if len(FILES) == len(OURS):
    missing = (
        f"nvdiffrec's recorded outputs are missing: no .npz file in {RECORDED} (PBRFIT_GOLDEN names another folder)"
    )
    CASES.append(pytest.param(RECORDED, unknown, id="recorded", marks=pytest.mark.skip(reason=missing)))


@pytest.mark.parametrize(("device", "provider"), PROVIDERS)
@pytest.mark.parametrize(("path", "check"), CASES)
def test_parity(path, check, device, provider):
    if provider == "nvdiffrast":
        from render.raster.nvdiffrast import nvdiffrast_rasterizer

        rasterizer = nvdiffrast_rasterizer(device)
    else:
        rasterizer = partial(visible_fragments, subpixels=16)
    check(Golden(path, device, rasterizer))


def test_there_is_golden_data():
    assert {path.stem for path in OURS} == set(make.FILES)
    assert len(CASES) >= len(FILES)


@pytest.mark.parametrize("name", QUICK_TO_MAKE)
def test_our_golden_files_are_what_their_script_makes(name):
    with np.load(make.FOLDER / f"{name}.npz") as file:
        stored = dict(file)
    made = make.FILES[name]()
    assert made.keys() == stored.keys()
    for key, values in made.items():
        np.testing.assert_allclose(stored[key], values, rtol=2e-5, atol=1e-6, err_msg=key)
