# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on shows in other languages: a catalogue for each, and how a finished English sentence finds its translation."""
