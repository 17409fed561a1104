"""Radiance towards the eye: the shading models, self-shadowing and normal maps."""
