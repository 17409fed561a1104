# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a material say: its closures, how they are mixed, and how one Principled BSDF can say the same."""
