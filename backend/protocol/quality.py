"""The figures that go with a quality, and the defaults and limits of what is rendered for a fit.

Backend, add-on and command line take them from here, so that estimates, panels and fits cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

MAP_NAMES = ("kd", "ks", "normal", "alpha")
DEFAULT_MAPS = ("kd", "ks", "normal")
SMALLEST_RESOLUTION = 16
LARGEST_RESOLUTION = 8192
DEFAULT_RESOLUTION = 1024
LARGEST_ASPECT = 8  # how many times as long as the other one edge of the maps may be
DEFAULT_ROUNDS, MOST_ROUNDS = 1, 8
DEFAULT_MARGIN, LARGEST_MARGIN = 16, 1024  # pixels


@dataclass(frozen=True)
class Quality:
    """How long and how finely a fit works.

    iterations: of the fit on a CPU; a GPU does five times as many. shadow_directions: in which each texel's surroundings are
    looked for what darkens it. near_enough_db: a bake that is as near to the artist's material as this, in the scene's light
    and in another, is kept without a fit. The noise of the references hides what is left then: of tuning cases, one at 39 dB
    gained 0.2 and 0.4 dB by a standard fit.
    """

    iterations: int
    shadow_directions: int
    near_enough_db: float


QUALITIES = {
    "draft": Quality(iterations=160, shadow_directions=128, near_enough_db=36.0),
    "standard": Quality(iterations=400, shadow_directions=256, near_enough_db=38.0),
    "high": Quality(iterations=1000, shadow_directions=512, near_enough_db=42.0),
}
QUALITY_NAMES = tuple(QUALITIES)
DEFAULT_QUALITY = "standard"


@dataclass(frozen=True)
class References:
    """What is rendered for a fit.

    views: renders to fit to; held_out_views: further ones that only measure; view_size: width and height in pixels;
    samples: of Cycles, a pixel.
    """

    views: int
    held_out_views: int
    view_size: int
    samples: int


DEFAULT_REFERENCES = References(views=120, held_out_views=4, view_size=256, samples=8)
FEWEST_REFERENCES = References(views=1, held_out_views=0, view_size=16, samples=1)
MOST_REFERENCES = References(views=1000, held_out_views=100, view_size=4096, samples=65536)
# Held-out views measure: at the fit's few samples their noise alone would floor the PSNR shown (8 samples: 27 dB).
HELD_OUT_SAMPLES = 4
