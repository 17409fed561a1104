"""The lights of references that are not all lit alike, and which rows each of them lights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from backend.fit.sample_table import SampleTable, StepRows
from render.light.environment import PrefilteredLight


class KnownLights:
    """Known lights, one of which the next iteration reads. `light_of_view`: the number of the light in each view, if not 0."""

    def __init__(self, lights: Sequence[PrefilteredLight], light_of_view: Mapping[int, int] | None = None) -> None:
        self._lights = list(lights)
        self._light_of_view = dict(light_of_view or {}) if len(lights) > 1 else {}
        self._number = 0
        # A captured graph reads the same memory in every iteration.
        self._copies = len(lights) > 1 and lights[0].atlas.device.type == "cuda"
        first = lights[0]
        if self._copies:
            first = replace(first, atlas=first.atlas.clone(), irradiance=first.irradiance.clone())
        self.shown = first

    @property
    def several(self) -> bool:
        """Whether rows may have different lights."""
        return bool(self._light_of_view)

    def show(self, number: int) -> None:
        """Make a light the one that `shown` is."""
        if number == self._number:
            return
        self._number, light = number, self._lights[number]
        if self._copies:
            self.shown.atlas.copy_(light.atlas)
            self.shown.irradiance.copy_(light.irradiance)
        else:
            self.shown = light

    def of_rows(self, rows: SampleTable | StepRows) -> torch.Tensor:
        """The number of each row's light, int64 [P]."""
        found = torch.zeros(len(rows), dtype=torch.int64, device=rows.view_index.device)
        for view, number in self._light_of_view.items():
            if number:
                found[rows.view_index == view] = number
        return found

    def parts(self, rows: SampleTable | StepRows) -> list[tuple[int, torch.Tensor]]:
        """The numbers of the rows' lights, and the rows int64 [N] that each has."""
        if not self.several:
            return [(0, torch.arange(len(rows), device=rows.view_index.device))]
        numbers = self.of_rows(rows)
        return [(int(number), (numbers == number).nonzero()[:, 0]) for number in torch.unique(numbers)]


def batches_by_light(
    parts: Sequence[tuple[int, torch.Tensor]], order: torch.Tensor, batch: int, even: bool = False
) -> list[tuple[int, torch.Tensor]]:
    """Batches of about `batch` rows, each with one light, the lights taking turns: numbers of lights, and rows int64 [N].

    parts   as `KnownLights.parts` gives them
    order   int64, the rows in random order
    even    make all batches of the same size, and leave out the rows that are over
    """
    if even:
        batch = min(batch, *(len(rows) for _, rows in parts)) if len(parts) > 1 else min(batch, len(parts[0][1]))
    found: list[tuple[float, int, torch.Tensor]] = []
    for number, rows in parts:
        own = order if len(parts) == 1 else order[torch.isin(order, rows)]
        count = max(1, round(len(own) / max(batch, 1)))
        chunks = own.chunk(count)
        found += [((place + 0.5) / len(chunks), number, chunk) for place, chunk in enumerate(chunks)]
    found.sort(key=lambda item: item[0])
    if even:
        size = min(len(chunk) for _, _, chunk in found)
        return [(number, chunk[:size]) for _, number, chunk in found]
    return [(number, chunk) for _, number, chunk in found]
