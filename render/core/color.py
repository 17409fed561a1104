"""Transfer functions: linear Rec.709 to and from sRGB, and the tone curve for losses."""

from __future__ import annotations

import torch

# Losses treat brighter radiance as this one, as in nvdiffrec.
BRIGHTEST = 65535.0


def linear_to_srgb(linear: torch.Tensor) -> torch.Tensor:
    """IEC 61966-2-1 encoding of linear values of any shape; negatives become 0, values above 1 continue along the curve."""
    low = linear.clamp(min=0)
    return torch.where(low <= 0.0031308, low * 12.92, 1.055 * low.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def srgb_to_linear(encoded: torch.Tensor) -> torch.Tensor:
    """IEC 61966-2-1 decoding, any shape."""
    high = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, high)


def log_srgb(linear: torch.Tensor) -> torch.Tensor:
    """sRGB(log(1 + x)), any shape: nvdiffrec compares images after this tone curve. Highlights then do not dominate the loss.

    x is clamped to 0..65535, with gradient 0 outside.
    """
    return linear_to_srgb(torch.log1p(linear.clamp(0, BRIGHTEST)))


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """PSNR in dB of two linear images of the same shape, compared in sRGB clipped to 0..1; `inf` where they are equal."""
    error = (linear_to_srgb(image).clamp(max=1) - linear_to_srgb(reference).clamp(max=1)).square().mean()
    return float(-10 * torch.log10(error))
