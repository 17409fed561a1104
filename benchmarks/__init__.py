"""Benchmarks of the renderer and of the fit; `python -m benchmarks.NAME` from the root of the repository."""

from backend.server.threads import yield_idle_threads

# Before any benchmark imports torch.
yield_idle_threads()
