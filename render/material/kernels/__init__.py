"""The optimizer's step on texels as Triton kernels."""
