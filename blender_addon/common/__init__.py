# SPDX-License-Identifier: GPL-3.0-or-later
"""What every folder of the add-on may use."""
