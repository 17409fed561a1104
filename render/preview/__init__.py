"""Frames of a scene, fast enough for a viewport, without gradients."""
