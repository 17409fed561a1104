"""Textures with mip levels, and how they are sampled."""
