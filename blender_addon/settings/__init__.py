# SPDX-License-Identifier: GPL-3.0-or-later
"""The artist's settings: scene properties, presets and preferences."""
