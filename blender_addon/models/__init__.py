# SPDX-License-Identifier: GPL-3.0-or-later
"""Write objects with their new materials as the files of other programs, and pictures of them, in a second Blender."""
