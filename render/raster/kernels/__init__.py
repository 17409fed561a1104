"""The rasterizer of `render.raster.portable` as Triton kernels."""
