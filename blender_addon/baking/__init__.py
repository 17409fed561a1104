# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake of what a material's nodes say: in a second Blender, by Cycles, exactly."""
