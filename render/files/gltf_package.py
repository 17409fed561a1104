"""pygltflib, which only glTF files need: an extra of PBRfit."""

from __future__ import annotations

try:
    import pygltflib
except ImportError as error:
    raise ImportError('glTF files need the package pygltflib: run `pip install "pygltflib<2"`.') from error

__all__ = ["pygltflib"]
