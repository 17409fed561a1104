# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's own Python environment: finding it, making it, starting it."""
