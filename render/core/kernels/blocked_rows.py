"""A constant sparse matrix times wide rows, by dense blocks: for matrices whose neighboring lines read nearly the same rows.

The lobes of neighboring texels overlap. For sixteen lines at a time, each row that any of them needs is read once, and a
dense block of weights, most of them not zero, turns the rows into the lines' sums. With 512 texels an edge, the prefilter
then reads a sixth of the rows, and its transpose an eighth.
"""

from __future__ import annotations

import torch

TILE = 16
_STEP = 32
# Rows that one program reads: small enough that programs fill a GPU, large enough that few blocks must be added afterwards.
_PIECE = 512


class BlockedRows:
    """Weighted sums of rows for segments, as `render.core.kernels.row_sums.RowSums`; neighboring segments should share rows.

    index   int [K], rows of the source, segment after segment; weight float [K], their factors
    offset  int [S], where each segment begins (it ends where the next begins)
    rows    the number of rows of the source

    Attributes: ``reads``, the number of rows read for each column of the source; ``nbytes`` of the stored blocks.
    """

    def __init__(self, index: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, rows: int) -> None:
        device = index.device
        self._segments, self.rows = len(offset), rows
        ends = torch.cat([offset.long(), torch.tensor([len(index)], device=device)])
        segment = torch.repeat_interleave(torch.arange(len(offset), device=device), ends.diff())
        tiles = (len(offset) + TILE - 1) // TILE
        read, which = torch.unique((segment // TILE) * rows + index, return_inverse=True)
        tile = read // rows
        self.reads = len(read)
        count = torch.bincount(tile, minlength=tiles)
        # Pad each tile's rows to whole steps with row 0, at weights of 0.
        padded = (count + _STEP - 1) // _STEP * _STEP
        start, place = (
            padded.cumsum(0) - padded,
            torch.arange(len(read), device=device) - (count.cumsum(0) - count)[tile],
        )
        at = start[tile] + place
        size = int(padded.sum())
        self._column = torch.zeros(size, dtype=torch.int32, device=device)
        self._column[at] = (read % rows).int()
        self._weight = torch.zeros(size, TILE, dtype=torch.float32, device=device)
        self._weight.index_put_((at[which], segment % TILE), weight.float(), accumulate=True)

        pieces = ((padded + _PIECE - 1) // _PIECE).clamp(min=1)
        owner = torch.repeat_interleave(torch.arange(tiles, device=device), pieces)
        within = torch.arange(len(owner), device=device) - (pieces.cumsum(0) - pieces)[owner]
        begin = start[owner] + within * _PIECE
        self._begin, self._end = begin.int(), torch.minimum(begin + _PIECE, (start + padded)[owner]).int()
        # A tile's first piece goes to its place in the result, the other pieces go behind all tiles.
        further = (within > 0).long()
        self._slot = torch.where(within > 0, tiles + further.cumsum(0) - 1, owner).int()
        self._several = (pieces > 1).nonzero()[:, 0]
        more = (pieces - 1)[self._several]
        self._first_extra = (tiles + more.cumsum(0) - more).int()
        self._last_extra = (tiles + more.cumsum(0)).int()
        self._several = self._several.int()
        self._slots = tiles + int(further.sum())

    def __len__(self) -> int:
        return self._segments

    @property
    def nbytes(self) -> int:
        return self._column.nbytes + self._weight.nbytes

    def apply(self, source: torch.Tensor) -> torch.Tensor:
        """Source float32 [rows, W] -> sums [S, W]; not differentiable by itself.

        Products and sums are in plain float32. The prefilter of 512 texels an edge takes 0.10 ms on an H200. The tensor
        cores' 11 bits take the same 0.10 ms, because reading takes that long, and their error is 8e-4; three such
        products, as exact as float32, take 0.23 ms.
        """
        # Late: Triton is not there on every machine.
        from render.core.kernels.blocked_rows_triton import add_pieces, blocked_pieces

        source = source.contiguous()
        width = source.shape[1]
        big = max(16, 1 << (width.bit_length() - 1))
        rest = max(16, 1 << (max(1, width - big) - 1).bit_length())
        result = source.new_empty(self._slots * TILE, width)
        blocked_pieces[(len(self._begin),)](
            source, self._column, self._weight, self._begin, self._end, self._slot, result, width,
            TILE=TILE, STEP=_STEP, BIG=big, REST=rest, num_warps=4,
        )  # fmt: skip
        if len(self._several):
            lanes = 1 << (width - 1).bit_length()
            add_pieces[(len(self._several), TILE)](
                result, self._several, self._first_extra, self._last_extra, width, TILE=TILE, LANES=lanes
            )
        return result[: self._segments]
