# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay that shows in 3D views what no view of a fit saw."""
