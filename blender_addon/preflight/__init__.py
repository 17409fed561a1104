# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a fit, found before the click, and its one-click fixes."""
