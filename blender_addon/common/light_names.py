# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the lights that references are rendered in."""

AUTOMATIC, STUDIO, SCENE = "AUTOMATIC", "STUDIO", "SCENE"
"""What the artist chooses."""
BOTH = "BOTH"
"""What Automatic comes to where the scene's world tells something: the references are in it, and in Studio's lights."""
