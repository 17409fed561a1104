"""Several closures as one, by how much light they scatter and reflect."""

from __future__ import annotations

import numpy as np
import pytest

F0 = 0.04


def sums(base: np.ndarray, metallic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a Principled BSDF scatters and reflects."""
    share = metallic[..., None]
    return ((1.0 - share) * base).astype(np.float32), (F0 * (1.0 - share) + share * base).astype(np.float32)


@pytest.mark.parametrize("metallic", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_one_closure_comes_back_as_it_was(addon, metallic: float) -> None:
    base = np.random.default_rng(0).uniform(0.0, 1.0, (64, 3)).astype(np.float32)
    shares = np.full(64, metallic, np.float32)
    found, share = addon.baking.energy.one_closure(*sums(base, shares), shares)
    np.testing.assert_allclose(found, base, atol=2e-3)
    np.testing.assert_allclose(share, shares, atol=2e-3)


def test_a_mix_keeps_what_it_scatters_and_reflects(addon) -> None:
    generator = np.random.default_rng(1)
    weight = generator.uniform(0.0, 1.0, (200, 1)).astype(np.float32)
    paint, metal = generator.uniform(0.1, 0.9, (2, 200, 3)).astype(np.float32)
    scattered, reflected = (1.0 - weight) * paint, (1.0 - weight) * F0 + weight * metal
    base, metallic = addon.baking.energy.one_closure(scattered, reflected, weight[:, 0])
    again = sums(base, metallic)
    np.testing.assert_allclose(again[0].mean(-1), scattered.mean(-1), atol=2e-3)
    np.testing.assert_allclose(again[1].mean(-1), reflected.mean(-1), atol=2e-3)


def test_less_reflection_than_any_dielectric_is_no_metal(addon) -> None:
    scattered = np.full((3, 3), [[0.8], [0.2], [0.0]], np.float32)
    base, metallic = addon.baking.energy.one_closure(scattered, np.zeros((3, 3), np.float32), np.zeros(3, np.float32))
    np.testing.assert_allclose(base, scattered, atol=1e-6)
    np.testing.assert_allclose(metallic, 0.0, atol=1e-6)
    np.testing.assert_allclose(addon.baking.energy.specular_level_of(np.zeros((3, 3), np.float32), metallic), 0.0)


def test_roughness_is_that_of_what_reflects(addon) -> None:
    reflected = np.array([[0.03, 0.03, 0.03], [0.0, 0.0, 0.0]], np.float32)
    shine = reflected * 0.25
    np.testing.assert_allclose(addon.baking.energy.roughness_of(shine, reflected), [0.25, 1.0], atol=1e-6)
