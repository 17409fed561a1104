# SPDX-License-Identifier: GPL-3.0-or-later
"""Save maps in the layout that another program reads."""
