"""What every folder of the renderer uses: color, image files, and the kernels that are no one's in particular."""
