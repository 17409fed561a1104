"""A constant sparse matrix times wide rows where neighbouring lines read nearly the same rows: by dense blocks.

The lobes of neighbouring texels overlap. Sixteen lines at a time, the rows that any of them reads are read once, and a
dense block of weights, mostly not zero, turns them into the lines' sums: of the prefilter for 512
texels an edge a sixth of the rows is read, of its transpose an eighth.
"""

from __future__ import annotations

import torch

TILE = 16
_STEP = 32
# Rows that one program reads: enough programs to fill a GPU, few enough blocks to be added up afterwards.
_PIECE = 512


class BlockedRows:
    """Segments' weighted sums of rows, as `render.core.kernels.row_sums.RowSums`; neighbouring segments should share rows.

    index   int [K], rows of the source, segment after segment; weight float [K], their factors
    offset  int [S], where each segment begins (it ends where the next begins)
    rows    how many rows the source has

    Attributes: ``reads``, how many rows are read for each of the source's columns; ``nbytes`` of the stored blocks.
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
        # Each tile's rows are filled up to whole steps by row 0, with weights of 0.
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
        # A tile's first piece is written where the result is wanted, the others behind all tiles.
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

        Products and sums are float32's own: 0.10 ms for the prefilter of 512 texels an edge on an H200, as with the
        tensor cores' 11 bits (0.10), whose error is 8e-4, since reading takes that long; three such products, as exact as
        float32, take 0.23.
        """
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
