"""Compositing of depth layers."""

from __future__ import annotations

import torch


def composite(color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Layers near to far, color [P, K, 3] and alpha [P, K, 1], as premultiplied pixels [P, 4]."""
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], dim=1), dim=1)
    weight = alpha * through
    return torch.cat([(weight * color).sum(1), weight.sum(1)], dim=-1)


def composite_over(behind: torch.Tensor, pixel: torch.Tensor, color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """One layer over premultiplied pixels: behind [P, C + 1], pixel int64 [F] (each at most once), color [F, C],
    alpha [F, 1] -> [P, C + 1].
    """
    front = torch.cat([color, torch.ones_like(alpha)], dim=-1)
    return behind.index_put((pixel,), torch.lerp(behind[pixel], front, alpha))
