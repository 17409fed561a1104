# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets: scene properties, presets and preferences."""
