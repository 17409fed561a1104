"""Preview frames as Triton kernels."""
