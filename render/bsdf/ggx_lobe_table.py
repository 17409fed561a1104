"""Which round lobe stands for the true one: numbers fitted to synthetic environments.

The mean direction of the true lobe is not the best place to look up the prefiltered light: people see the light after an
sRGB curve, Fresnel moves the lobe towards grazing facets, and the round lobe must have the width that fits best.
`python -m benchmarks.lobe_fit` derives these numbers, says how, and prints the error that is left. Below the first
roughness its numbers stay.
"""

from __future__ import annotations

import torch

ROUGHNESS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
N_DOT_V = (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.98)

# LEAN: t of normalize(lerp(N, R, t)). WIDTH: roughness of the lookup over the surface's own; the lookup's is at most 1.
# A row is a roughness, a column an N.V. METAL: a white metal. DIELECTRIC: IOR 1.5.
METAL_LEAN = (
    (1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.92, 0.97, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.79, 0.87, 0.93, 0.96, 0.97, 1.00, 1.00, 1.00),
    (0.65, 0.73, 0.82, 0.87, 0.91, 0.94, 0.96, 0.97),
    (0.53, 0.60, 0.68, 0.75, 0.81, 0.85, 0.89, 0.91),
    (0.42, 0.47, 0.53, 0.59, 0.65, 0.70, 0.75, 0.78),
    (0.31, 0.35, 0.39, 0.44, 0.48, 0.53, 0.57, 0.59),
    (0.22, 0.24, 0.26, 0.29, 0.32, 0.34, 0.37, 0.37),
    (0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18),
    (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
)
METAL_WIDTH = (
    (0.82, 0.81, 0.83, 0.86, 0.90, 0.94, 0.97, 0.99),
    (1.05, 0.86, 0.83, 0.85, 0.89, 0.93, 0.97, 0.99),
    (1.12, 0.96, 0.85, 0.89, 0.92, 0.97, 1.02, 1.04),
    (1.18, 1.05, 0.94, 0.93, 0.95, 1.00, 1.06, 1.09),
    (1.26, 1.09, 1.01, 0.99, 1.01, 1.05, 1.09, 1.12),
    (1.39, 1.26, 1.14, 1.10, 1.10, 1.12, 1.18, 1.22),
    (1.42, 1.31, 1.24, 1.20, 1.19, 1.20, 1.23, 1.25),
    (1.27, 1.27, 1.27, 1.27, 1.22, 1.21, 1.22, 1.27),
    (1.17, 1.17, 1.17, 1.17, 1.17, 1.17, 1.17, 1.17),
    (1.02, 1.02, 1.02, 1.02, 1.02, 1.02, 1.02, 1.02),
)
DIELECTRIC_LEAN = (
    (1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.95, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.88, 0.95, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.82, 0.88, 0.96, 1.00, 1.00, 1.00, 1.00, 1.00),
    (0.77, 0.82, 0.90, 0.96, 1.00, 1.00, 1.00, 0.96),
    (0.71, 0.76, 0.82, 0.87, 0.90, 0.90, 0.88, 0.87),
    (0.66, 0.69, 0.72, 0.75, 0.76, 0.75, 0.72, 0.69),
    (0.61, 0.61, 0.61, 0.60, 0.57, 0.54, 0.51, 0.49),
    (0.55, 0.53, 0.49, 0.44, 0.40, 0.36, 0.32, 0.30),
    (0.48, 0.44, 0.38, 0.32, 0.25, 0.19, 0.14, 0.13),
)
DIELECTRIC_WIDTH = (
    (0.76, 0.79, 0.83, 0.87, 0.89, 0.94, 0.97, 0.99),
    (0.72, 0.71, 0.78, 0.86, 0.91, 0.94, 0.98, 1.00),
    (0.66, 0.67, 0.74, 0.84, 0.92, 0.98, 1.02, 1.04),
    (0.67, 0.65, 0.71, 0.81, 0.92, 1.00, 1.07, 1.09),
    (0.67, 0.68, 0.72, 0.80, 0.91, 1.02, 1.10, 1.13),
    (0.68, 0.70, 0.76, 0.84, 0.92, 1.04, 1.19, 1.24),
    (0.72, 0.73, 0.80, 0.88, 1.02, 1.15, 1.25, 1.28),
    (0.77, 0.82, 0.93, 1.04, 1.16, 1.21, 1.27, 1.27),
    (0.88, 0.93, 1.05, 1.17, 1.17, 1.17, 1.17, 1.17),
    (1.02, 1.02, 1.02, 1.02, 1.02, 1.02, 1.02, 1.02),
)


def lobe_lookup(roughness: torch.Tensor, n_dot_v: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Where to look up the prefiltered light, for roughness and N.V of the same shape [...]: linear between the numbers.

    Returns t and roughness of a white metal, then t and roughness of a dielectric, all [...].
    """
    row, row_fraction = _place(roughness, ROUGHNESS)
    column, column_fraction = _place(n_dot_v, N_DOT_V)

    def between(values: tuple[tuple[float, ...], ...]) -> torch.Tensor:
        table = torch.tensor(values, device=roughness.device, dtype=roughness.dtype)
        upper = torch.lerp(table[row, column], table[row, column + 1], column_fraction)
        lower = torch.lerp(table[row + 1, column], table[row + 1, column + 1], column_fraction)
        return torch.lerp(upper, lower, row_fraction)

    metal = between(METAL_LEAN), (roughness * between(METAL_WIDTH)).clamp(max=1)
    return *metal, between(DIELECTRIC_LEAN), (roughness * between(DIELECTRIC_WIDTH)).clamp(max=1)


def _place(value: torch.Tensor, nodes: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    known = torch.tensor(nodes, device=value.device, dtype=value.dtype)
    inside = value.clamp(nodes[0], nodes[-1])
    lower = torch.bucketize(inside, known[1:-1], right=True)
    return lower, (inside - known[lower]) / (known[lower + 1] - known[lower])
