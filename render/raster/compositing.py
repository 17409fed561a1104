"""Compositing of depth layers."""

from __future__ import annotations

import torch


def composite(color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Premultiplied pixels [P, 4] of layers from near to far: color [P, K, 3], alpha [P, K, 1]."""
    # Layer by layer: the gradient of torch.cumprod reads its values on the host, which a CUDA graph cannot capture.
    through = torch.ones_like(alpha[:, 0])
    total, coverage = torch.zeros_like(color[:, 0]), torch.zeros_like(alpha[:, 0])
    for layer in range(color.shape[1]):
        weight = alpha[:, layer] * through
        total, coverage = total + weight * color[:, layer], coverage + weight
        through = through * (1 - alpha[:, layer])
    return torch.cat([total, coverage], dim=-1)


def composite_over(behind: torch.Tensor, pixel: torch.Tensor, color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """One layer over premultiplied pixels: behind [P, C + 1], pixel int64 [F] (each at most once), color [F, C],
    alpha [F, 1] -> [P, C + 1].
    """
    front = torch.cat([color, torch.ones_like(alpha)], dim=-1)
    return behind.index_put((pixel,), torch.lerp(behind[pixel], front, alpha))
