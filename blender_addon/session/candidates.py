# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group may get: the maps of its bake, those of its fit and of the rounds after it, and of each set the best ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..assign.materials import ENVIRONMENT
from ..common.material_recipe import BakedMaps, MaterialRecipe, fit_recipe
from ..comparing.errors import BAKE, FIT
from .coverage import Coverage, take_coverage


@dataclass
class Candidates:
    """count: of sets of maps; alpha: whether a fit's alpha is used; baked, fits: what there is so far, the files by name of the
    fit and of each round after it (see `errors.round_name`); coverages: what the views of each of these saw; choices: what
    the comparison says of each set, as `errors.Choice.to_json` gives it; empty before it."""

    count: int
    alpha: bool
    baked: BakedMaps | None = None
    fits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    coverages: dict[str, Coverage] = field(default_factory=dict)
    choices: tuple[dict[str, Any], ...] = ()

    def take_fit(self, name: str, files: dict[str, bytes], metrics: dict[str, Any]) -> None:
        """Take the maps of a fit or of a round after it; the metrics lose what says which texels no view saw."""
        self.fits[name], self.coverages[name] = files, take_coverage(metrics)

    @property
    def coverage(self) -> Coverage:
        """What views saw of what is kept. A bake needs no views."""
        share, masks = 0.0, [""] * self.count
        for name, coverage in self.coverages.items():
            if name in self.kept:
                share = coverage.share
            for number, mask in enumerate(coverage.masks):
                if self.kept[number] == name:
                    masks[number] = mask
        return Coverage(share, tuple(masks))

    @property
    def looks(self) -> list[str]:
        """The names of what there is, in the order in which it was made."""
        return [*([] if self.baked is None else [BAKE]), *self.fits]

    @property
    def kept(self) -> tuple[str, ...]:
        """The name of what each set gets; the first fit, or else the bake, counts while nothing is compared."""
        if self.choices:
            return tuple(choice["kept"] for choice in self.choices)
        return (FIT if self.fits else BAKE,) * self.count

    @property
    def files(self) -> dict[str, bytes]:
        """The files of what is kept, by name."""
        found = {name: data for name, data in self.fits.get(FIT, {}).items() if name == ENVIRONMENT}
        for number, kept in enumerate(self.kept):
            found |= self.files_of(kept, number)
        return found

    @property
    def recipes(self) -> tuple[MaterialRecipe, ...] | None:
        """What the new material of each set gets; None: a fit's maps alone."""
        if self.baked is None:
            return None
        return tuple(self.recipe_of(kept, number) for number, kept in enumerate(self.kept))

    def plan(self, kept: str, folder: Path) -> dict[str, Any]:
        """A candidate for a second Blender, from its files in a group's folder, where the bake's are already.

        Raises OSError if those of a fit cannot be written.
        """
        paths: dict[str, str] = {}
        for number in range(self.count):
            for name, data in self.files_of(kept, number).items():
                path = folder / name if kept == BAKE else folder / kept.lower() / name
                if not path.is_file():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                paths[name] = str(path)
        recipes = [self.recipe_of(kept, number).to_json() for number in range(self.count)]
        return {"recipes": recipes, "files": paths}

    def files_of(self, kept: str, number: int) -> dict[str, bytes]:
        """The files of one set of a candidate."""
        prefix = f"{number}/" if self.count > 1 else ""
        baked = {} if self.baked is None else self._with_prefix(self.baked.files, prefix)
        if kept == BAKE:
            return baked
        fitted = self._with_prefix(self.fits[kept], prefix)
        wanted = set(self.recipe_of(kept, number).keys) - {key_of(name) for name in fitted}
        return fitted | {name: data for name, data in baked.items() if key_of(name) in wanted}

    def recipe_of(self, kept: str, number: int) -> MaterialRecipe:
        """The recipe of one set of a candidate. A fit keeps what the bake says of everything that it does not fit: the light
        that the surface sends out, and the lobes of fuller targets."""
        prefix = f"{number}/" if self.count > 1 else ""
        if kept == BAKE:
            assert self.baked is not None  # else it is none of the candidates
            return self.baked.recipes[number]
        keys = {key_of(name) for name in self._with_prefix(self.fits[kept], prefix)}
        recipe = fit_recipe(keys, self.alpha)
        if self.baked is None:
            return recipe
        other = self.baked.recipes[number]
        # What shares a map with fitted values cannot be read from the fit's.
        kept_inputs = {name: item for name, item in other.inputs.items() if item.key not in keys}
        constants = recipe.constants | other.constants
        return replace(
            other,
            constants={name: value for name, value in constants.items() if name not in recipe.inputs},
            inputs=kept_inputs | recipe.inputs,
            properties=recipe.properties | other.properties,
        )

    def _with_prefix(self, files: dict[str, bytes], prefix: str) -> dict[str, bytes]:
        return {name: data for name, data in files.items() if name.startswith(prefix) and name != ENVIRONMENT}


def key_of(name: str) -> str:
    """The key of the map that a file holds."""
    return name.rpartition("/")[2].partition(".")[0]
