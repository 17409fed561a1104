# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems that would stop or spoil a fit, found before the click, and their one-click fixes."""
