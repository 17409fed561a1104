"""How near a single closure can be to a mix: what is known without measuring comes out."""

from __future__ import annotations

import pytest
import torch

from benchmarks.one_closure import Seen, judged, lights, merged, mixes, rows
from render.material.material import KD, METALLIC, ROUGHNESS

LOOKS = 8


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    generator = torch.Generator().manual_seed(0)
    return [Seen(rows(12 * LOOKS, generator), light) for light in lights()]


def test_two_paints_of_one_roughness_are_one_paint(seen) -> None:
    """A paint scatters in proportion to its color, so the mix is exact, and nothing is left to gain."""
    first, second, share = mixes(12, (0.0, 0.0), 0.0, torch.Generator().manual_seed(1))
    texels = merged(first, second, share)
    weight = share[:, None]
    torch.testing.assert_close(texels[:, KD], (1 - weight) * first[:, KD] + weight * second[:, KD], atol=1e-4, rtol=0)
    torch.testing.assert_close(texels[:, ROUGHNESS], first[:, ROUGHNESS], atol=1e-4, rtol=0)
    assert texels[:, METALLIC].abs().max() < 1e-3
    found = judged(first, second, share, seen, LOOKS)
    assert found["bake_db"] > 80
    assert found["gain_db"] == 0


def test_paint_and_metal_have_no_exact_mix_and_descent_is_no_worse(seen) -> None:
    first, second, share = mixes(12, (0.0, 1.0), 0.4, torch.Generator().manual_seed(1))
    found = judged(first, second, share, seen, LOOKS)
    assert 20 < found["bake_db"] < 50
    assert found["gain_db"] > 0.3
