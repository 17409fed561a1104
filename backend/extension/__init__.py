"""What the Blender extension is built of: `build_addon.py` puts it together."""
