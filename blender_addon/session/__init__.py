# SPDX-License-Identifier: GPL-3.0-or-later
"""One click on Optimize Materials, from the checks to the assigned material."""
