"""How a fit goes: its sizes, iterations and learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from render.shading.models import ShadingModel
from render.texture.map_size import MapSize, map_size

_ENOUGH_FOR_ONE_SIZE = 1000


@dataclass(frozen=True)
class FitPlan:
    """How a fit goes: at most `iterations` over all sizes; the learning rate decays over the last one.

    The maps come to `resolution`; (height, width) or one number for both will do too. The last size draws `batch` pixels an
    iteration, and each smaller size half as many as the next, since more samples read a coarse texel. The light learns at
    `light_learning_rate` times the rate of the maps. Nothing here depends on what the surface is like: how much the priors
    weigh is found during the fit (`backend.fit.balance`).
    """

    resolution: MapSize
    iterations: int = 400
    stages: int = 3
    batch: int = 65536
    learning_rate: float = 0.04
    final_learning_rate: float = 0.002
    model: ShadingModel = "principled"
    fit_normal: bool = True
    fit_ks: bool = True
    fit_alpha: bool = False
    learn_light: bool = False
    light_learning_rate: float = 1.0
    white_balance: float = 0.001

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", map_size(self.resolution))

    def size_of(self, stage: int) -> MapSize:
        """The size of the maps at a stage."""
        return self.resolution.halved(self.stages - 1 - stage)


def learning_rate_at(plan: FitPlan, iteration: int) -> float:
    """The learning rate of an iteration, from 0: it decays over the last size alone."""
    lengths = stage_lengths(plan.iterations, plan.stages)
    share = max(0.0, iteration - sum(lengths[:-1])) / lengths[-1]
    return plan.learning_rate * math.pow(plan.final_learning_rate / plan.learning_rate, share)


def stages_for(resolution: MapSize, iterations: int) -> int:
    """How many sizes a fit passes through: one where there are iterations enough, since a change of size loses what Adam knows.

    Tuning cases: with 1000 iterations and the light learned, one size is 1 to 3 dB ahead of three; with 300, three sizes
    are 4 to 11 dB ahead and take two thirds of the time.
    """
    return 1 if iterations >= _ENOUGH_FOR_ONE_SIZE else max(1, min(3, (int(resolution.edge) // 32).bit_length()))


def stage_lengths(iterations: int, stages: int) -> list[int]:
    """Iterations at each size: three times as many as at the size before."""
    weights = [3**stage for stage in range(stages)]
    return [max(1, round(iterations * weight / sum(weights))) for weight in weights]
