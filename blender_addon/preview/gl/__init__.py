# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview's drawing on Blender's own GPU."""
