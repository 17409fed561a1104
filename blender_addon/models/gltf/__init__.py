# SPDX-License-Identifier: GPL-3.0-or-later
"""New materials as glTF: what Blender's exporter leaves out, and what glTF has no word for."""
