# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line runs inside Blender: it installs the extension, presses its button and saves what comes out."""
