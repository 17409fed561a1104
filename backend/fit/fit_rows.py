"""Which rows a fit fits to and which it keeps back, and what each process of a team has of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from backend.fit.balance import split_views
from backend.fit.sample_table import SampleTable, StepRows, step_rows
from backend.fit.team import Team
from render.texture.bands import Band
from render.texture.fixed_lookup import mip_count
from render.texture.map_size import MapSize

# A batch asks its rows of each process; with fewer than this many for each, one process alone is as fast.
_LEAST_IN_BATCH = 16
# The views that are kept back are asked for the priors' weights with this share of a batch.
_SHARE_ASKED = 4


@dataclass(frozen=True)
class FitRows:
    """The rows of one process, or of all. fitted_in_all, kept_back_in_all: how many all processes have.

    kept_back: of the views that are asked how much the priors weigh; may be empty.
    """

    fitted: StepRows
    kept_back: StepRows
    fitted_in_all: int
    kept_back_in_all: int

    @property
    def share(self) -> float:
        """Which part of the fitted rows of all processes these are."""
        return len(self.fitted) / max(1, self.fitted_in_all)


def fit_rows(table: SampleTable | StepRows, batch: int, generator: torch.Generator) -> FitRows:
    """The rows of a fit in batches of `batch`."""
    fitted, kept_back = split_views(table, max(1, batch // _SHARE_ASKED), generator)
    rows = step_rows(table)
    own = rows.rows(fitted) if len(kept_back) else rows
    return FitRows(own, rows.rows(kept_back), len(fitted), len(kept_back))


def shares_of(rows: FitRows, band: Band, batch: int) -> list[FitRows] | None:
    """What each process has: the rows whose first point lies in its band. None where one has too few for batches of `batch`."""
    fitted, kept_back = parts_of(rows.fitted, band), parts_of(rows.kept_back, band)
    batches = max(1, round(rows.fitted_in_all / max(1, batch)))
    if min(len(part) for part in fitted) < _LEAST_IN_BATCH * batches:
        return None
    return [
        FitRows(own, back, rows.fitted_in_all, rows.kept_back_in_all)
        for own, back in zip(fitted, kept_back, strict=True)
    ]


def parts_of(rows: StepRows, band: Band) -> list[StepRows]:
    """The rows of each process, by the first point of each."""
    owner = band.number_of(rows.uv[:, 0, 1])
    return [rows.rows((owner == number).nonzero()[:, 0]) for number in range(band.count)]


def bands_of(team: Team, resolution: MapSize) -> Band:
    """Which rows of maps each process of a team has: the same at every size of a fit that ends with this one."""
    return team.band(resolution, mip_count(resolution))
