"""Sweeps over gaps in a kernel are those of plain PyTorch."""

from __future__ import annotations

import pytest
import torch

from render.core.kernels import has_triton
from render.texture.kernels.gap_sweep import smooth_gaps, smooth_gaps_plainly


@pytest.mark.parametrize("channels", [8, 9])
@pytest.mark.parametrize("sweeps", [0, 1, 6])
def test_the_kernel_sweeps_as_plain_pytorch(device, channels, sweeps):
    g = torch.Generator().manual_seed(0)
    texture, known = (
        torch.rand(12, 20, channels, generator=g).to(device),
        (torch.rand(12, 20, generator=g) > 0.6).to(device),
    )
    before = texture.clone()
    if not has_triton(torch.device(device)):
        pytest.skip(
            "no Triton for this device; tests/render/test_interpreted.py has its turn where Triton is installed"
        )
    found = smooth_gaps(texture, known, sweeps)
    torch.testing.assert_close(found, smooth_gaps_plainly(texture, known, sweeps))
    assert torch.equal(texture, before)
    assert torch.equal(found[known], before[known])
