"""All that a fit needs to go on exactly as if it had never stopped: maps, light, optimizers, priors, place in the plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.fit.adam_state import adam_tensors
from backend.fit.state import FitState
from render.texture.map_size import MapSize

TEXELS, LIGHT, BEST = "texels", "light", "best"


@dataclass(frozen=True)
class FitMemory:
    """A fit after some iterations.

    iteration: how many, and within: those of them at the current size, which is that of `stage`. numbers: JSON values.
    arrays: float32, by name.
    """

    iteration: int
    stage: int
    within: int
    numbers: dict[str, float]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, as JSON values."""
        numbers = {name: value for name, value in self.numbers.items() if math.isfinite(value)}
        return {"iteration": self.iteration, "stage": self.stage, "within": self.within, "numbers": numbers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> FitMemory:
        """Takes back what `to_dict` gave. Raises ValueError, TypeError or KeyError for anything else."""
        whole = [values[name] for name in ("iteration", "stage", "within")]
        numbers = {str(name): float(value) for name, value in dict(values["numbers"]).items()}
        if not all(type(value) is int and value >= 0 for value in whole) or not all(
            map(math.isfinite, numbers.values())
        ):
            raise ValueError("its numbers are not those of a fit")
        return cls(whole[0], whole[1], whole[2], numbers, arrays)

    def check_place(self, lengths: Sequence[int]) -> None:
        """Raise ValueError unless this is a place in a plan with so many iterations at each size."""
        if self.stage >= len(lengths) or not 0 < self.within <= lengths[self.stage]:
            raise ValueError("it is at no place of the plan")
        if self.iteration != sum(lengths[: self.stage]) + self.within:
            raise ValueError("its iterations are not those of its place in the plan")

    def maps_like(self, texels: torch.Tensor, size: MapSize) -> torch.Tensor:
        """The maps at this size, with the channels and on the device of `texels`. Raises ValueError for others."""
        maps = texels.new_zeros(*size, texels.shape[2])
        put_back({TEXELS: maps}, self.arrays)
        return maps

    def best_like(self, live: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The best maps, and the light with them where `live` has one; nothing where none were measured."""
        if f"{BEST}0" not in self.arrays:
            return ()
        kept = [torch.zeros_like(live[name]) for name in (TEXELS, LIGHT) if name in live]
        put_back({f"{BEST}{number}": tensor for number, tensor in enumerate(kept)}, self.arrays)
        return tuple(kept)


def live_tensors(state: FitState, moments: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that iterations change, by name. moments: those of optimizers that are not PyTorch's."""
    priors = state.priors
    tensors = {TEXELS: state.texels.detach(), "bound": state.bound}
    tensors |= {f"prior_{name}": getattr(priors, name) for name in ("smooth", "two_valued", "pull")}
    if state.plan.learn_light:
        tensors[LIGHT] = state.light.base.detach()
    if state.light_optimizer is not None:
        tensors |= state.light_optimizer.tensors()
    if state.fused_light is not None:
        tensors |= state.fused_light.tensors()
    return tensors | (dict(moments) if moments else adam_tensors(state.optimizer, [state.texels], "maps"))


@torch.no_grad()
def copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """The tensors in the main memory, where nobody changes them."""
    return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(tensors: Mapping[str, torch.Tensor], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into the tensors of the same names. Raises ValueError where one is missing or not as it must be."""
    for name, tensor in tensors.items():
        array = arrays.get(name)
        if array is None or array.shape != tuple(tensor.shape) or array.dtype != np.float32:
            raise ValueError(f"{name} is missing or of another form")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
    for name, tensor in tensors.items():
        tensor.copy_(torch.from_numpy(np.array(arrays[name])))
