"""A copy of a set's maps while their fit runs. The server passes it on without a need for PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For the types only: the server's process imports PyTorch when its first job needs it.
    import torch


@dataclass(frozen=True)
class Snapshot:
    """A copy of a set's maps: texels float32 [H, W, 8 or 9] as in `MaterialMaps`; openness [h, w] or None, which nobody
    writes to; base [6, B, B, 3] of a light that is learned, or None. On CUDA they are there after `ready`.
    """

    texels: torch.Tensor
    openness: torch.Tensor | None
    base: torch.Tensor | None
    ready: torch.cuda.Event | None

    @property
    def is_there(self) -> bool:
        """Whether it can be read without waiting: a GPU may be a hundred milliseconds behind the fit's thread."""
        return self.ready is None or bool(self.ready.query())  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
