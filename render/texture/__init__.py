"""Textures with mip levels, and their sampling."""
