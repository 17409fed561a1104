# SPDX-License-Identifier: GPL-3.0-or-later
"""The wipe in a 3D view: original, new material, bake and error, side by side from one camera."""
