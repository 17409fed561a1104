"""What PyTorch's Adam keeps, to be read and written by name."""

from __future__ import annotations

import torch


def adam_tensors(
    optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor], name: str
) -> dict[str, torch.Tensor]:
    """What PyTorch's Adam keeps of its parameters; made where it has not taken a step."""
    found: dict[str, torch.Tensor] = {}
    on_gpu = parameters[0].is_cuda
    for number, parameter in enumerate(parameters):
        kept = optimizer.state[parameter]
        if not kept:
            kept["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device if on_gpu else "cpu")
            kept["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            kept["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        found |= {f"{name}{number}_{part}": kept[part] for part in ("step", "exp_avg", "exp_avg_sq")}
    return found
