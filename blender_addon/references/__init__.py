# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference views of a fit, and the second Blender that renders them."""
