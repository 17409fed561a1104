# SPDX-License-Identifier: GPL-3.0-or-later
"""Which materials look more like the artist's own: those of a bake or those of a fit, rendered by Cycles."""
