# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend on this machine: find it, set up its Python environment, check it and start it."""
