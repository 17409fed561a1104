"""Shading as Triton kernels, with the gradients of maps and light."""
