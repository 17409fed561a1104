"""Meshes, their tangents, and cameras."""
