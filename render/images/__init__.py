"""Images of a mesh, maps rendered in UV space, and losses between images."""
