# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine: viewports, final renders, and what they share."""
