# SPDX-License-Identifier: GPL-3.0-or-later
"""The views that the fit compares with, rendered by a second Blender."""
