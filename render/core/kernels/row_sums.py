"""Sums of chosen rows: a constant sparse matrix times a dense one, without atomics.

The light's prefilter, its transpose and the packing of cube maps are such products. On the CPU, `embedding_bag` is the
fastest way that PyTorch has. On CUDA it leaves most of the chip idle if segments are few and long, or very many and short.
"""

from __future__ import annotations

from functools import cached_property

import torch

from render.core.kernels import has_triton

# Rows that one program sums: enough to pay for its start, few enough that a few thousand segments fill a GPU.
_PIECE = 64
_UNROLL = 8
_NARROW = 8
_BLOCK = 256


class RowSums:
    """Sums of some rows of a source, one sum for each of S segments: `apply`.

    index   int [K], rows of the source, segment after segment
    offset  int [S], where each segment begins (it ends where the next begins)
    weight  float [K], factors of the rows, or None
    """

    def __init__(self, index: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor | None = None) -> None:
        self.index, self.offset, self.weight = index, offset, weight

    def __len__(self) -> int:
        return len(self.offset)

    def apply(self, source: torch.Tensor) -> torch.Tensor:
        """Source [N, W] -> sums [S, W]; not differentiable by itself. Float64 and other devices use `reference`."""
        use_kernel = source.dtype == torch.float32 and len(self) > 0 and has_triton(source.device)
        if not use_kernel:
            return self.reference(source)
        if self.weight is None and source.shape[1] <= _NARROW:
            return self._narrow(source.contiguous())
        return self._wide(source.contiguous())

    def reference(self, source: torch.Tensor) -> torch.Tensor:
        """The same with `embedding_bag`."""
        weight = None if self.weight is None else self.weight.to(source.dtype)
        return torch.nn.functional.embedding_bag(self.index, source, self.offset, mode="sum", per_sample_weights=weight)

    @cached_property
    def _ends(self) -> torch.Tensor:
        """Offsets with the end of the last segment, int32 [S + 1]."""
        end = torch.tensor([len(self.index)], device=self.offset.device)
        return torch.cat([self.offset.long(), end]).int()

    @cached_property
    def _pieces(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Start and end of each piece, int32 [P], and the first piece of each segment, int32 [S + 1]."""
        start, end = self._ends[:-1].long(), self._ends[1:].long()
        count = (end - start + _PIECE - 1) // _PIECE
        first = torch.cat([torch.zeros_like(count[:1]), torch.cumsum(count, 0)])
        segment = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        within = torch.arange(len(segment), device=count.device) - first[segment]
        begin = start[segment] + within * _PIECE
        return begin.int(), torch.minimum(begin + _PIECE, end[segment]).int(), first.int()

    @cached_property
    def _factors(self) -> torch.Tensor:
        return torch.ones(len(self.index), device=self.index.device) if self.weight is None else self.weight.float()

    def _wide(self, source: torch.Tensor) -> torch.Tensor:
        # Late: Triton is not there on every machine.
        from render.core.kernels.row_sums_triton import wide_pieces, wide_totals

        begin, end, first = self._pieces
        width = source.shape[1]
        lanes = 1 << (width - 1).bit_length()
        pieces = source.new_empty(len(begin), width)
        if len(begin):
            wide_pieces[(len(begin),)](
                source, self.index, self._factors, begin, end, pieces, width, UNROLL=_UNROLL, LANES=lanes
            )
        result = source.new_empty(len(self), width)
        wide_totals[(len(self),)](pieces, first, result, width, LANES=lanes)
        return result

    def _narrow(self, source: torch.Tensor) -> torch.Tensor:
        # Late: Triton is not there on every machine.
        from render.core.kernels.row_sums_triton import narrow_sums

        result = source.new_empty(len(self), source.shape[1])
        grid = ((len(self) + _BLOCK - 1) // _BLOCK,)
        narrow_sums[grid](source, self.index, self._ends, result, len(self), WIDTH=source.shape[1], BLOCK=_BLOCK)
        return result
