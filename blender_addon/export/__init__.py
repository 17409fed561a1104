# SPDX-License-Identifier: GPL-3.0-or-later
"""From Blender's data to arrays: meshes, UV maps and the world's light."""
