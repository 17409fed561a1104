# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine PBRfit Preview."""
