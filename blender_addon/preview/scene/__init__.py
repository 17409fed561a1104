# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preview shows, read from Blender's data."""
