"""The light's prefilter and lookups as Triton kernels."""
