# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fit's maps to images, materials and slots."""
