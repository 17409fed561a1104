"""Frames of a scene as fast as a viewport wants them, without gradients."""
