"""Frames of a client's scene: the thread that draws, and what it draws."""
