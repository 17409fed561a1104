"""The client's end of the protocol: what Blender and the command line use."""
