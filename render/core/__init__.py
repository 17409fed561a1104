"""What every folder of the renderer uses: color, image files, typed gradients, and general kernels."""
