"""Our renderer against nvdiffrec's recorded outputs, file by file and check by check.

The files are those of `golden/` in the test data; the variable PBRFIT_GOLDEN names another folder of the same layout.
A file's name up to its letter says what it holds; a file no check knows fails. With `pytest -m cuda` the same runs on an
NVIDIA GPU, with the portable rasteriser and with nvdiffrast.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from support.data_folder import DATA
from support.parity import image as parity_image
from support.parity import light as parity_light
from support.parity import texture as parity_texture
from support.parity.golden import Golden

from render.raster.portable import visible_fragments

MODULES = (parity_light, parity_texture, parity_image)
FOLDER = Path(os.environ.get("PBRFIT_GOLDEN") or DATA / "golden")
FILES = sorted(FOLDER.glob("*.npz"))
PROVIDERS = [
    pytest.param("cpu", "portable", id="cpu"),
    pytest.param("cuda", "portable", id="cuda", marks=pytest.mark.cuda),
    pytest.param("cuda", "nvdiffrast", id="cuda-nvdiffrast", marks=pytest.mark.cuda),
]


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
    if not FILES:
        pytest.skip(f"the golden data are missing: there is no .npz file in {FOLDER} (PBRFIT_GOLDEN names another)")
    assert len(CASES) >= len(FILES)
