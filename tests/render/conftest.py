"""Where renderer tests run: on the CPU by default, on an NVIDIA GPU with `pytest -m cuda`."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request) -> str:
    return request.param
