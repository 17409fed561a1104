"""The texture lookups of `render.texture` as Triton kernels."""
