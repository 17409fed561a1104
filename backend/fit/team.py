"""The processes that share one fit, each on a device of its own: the first leads, the others do what it does, call by call.

What the leader decides (when to stop, to pause, to measure) it tells the others through pipes, as calls of the methods of their
`TableFit`. What they compute they add up through `torch.distributed`. All of them make the same calls in the same order, so
nobody ever asks another how far it is.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from render.texture.bands import Band
from render.texture.map_size import MapSize

# Numbers of a tensor that is added up together with others: 16 MiB.
_SMALL = 1 << 22


class Team:
    """A process of the group of `torch.distributed` that this process has joined; without `size`, one alone.

    rank: its number, 0 for the leader. size: how many there are. device: where its tensors are. pipes: of the leader, one to each
    other process in order; of another, that to the leader.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        device: torch.device | None = None,
        pipes: Sequence[Connection] = (),
    ) -> None:
        self.rank, self.size, self.device = rank, size, device
        self._pipes = list(pipes)

    @property
    def leads_others(self) -> bool:
        """Whether others do what this one does."""
        return self.size > 1 and self.rank == 0

    def band(self, resolution: MapSize, levels: int) -> Band:
        """The rows of a texture that this process owns."""
        return Band(resolution, levels, self.rank, self.size)

    # What all of them call

    def add_up(self, *tensors: torch.Tensor) -> None:
        """Make each tensor, all of one type, the sum of those of all processes, in place. Small ones are one message."""
        if self.size == 1:
            return
        small = [tensor for tensor in tensors if tensor.numel() <= _SMALL]
        for tensor in tensors:
            if tensor.numel() > _SMALL:  # as fast by itself, and not copied
                dist.all_reduce(tensor)
        if not small:
            return
        together = torch.cat([tensor.reshape(-1) for tensor in small])
        dist.all_reduce(together)
        sums = torch.split(together, [tensor.numel() for tensor in small])
        for tensor, own in zip(small, sums, strict=True):
            tensor.copy_(own.view(tensor.shape))

    def copy_leaders(self, *tensors: torch.Tensor) -> None:
        """Make each tensor what the leader has, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def collect(self, texels: torch.Tensor, band: Band) -> None:
        """Make texels [H, W, C] those of their owners, in place."""
        if self.size > 1 and band.whole:
            for number in range(self.size):
                dist.broadcast(texels[band.first_row(number, 0) : band.first_row(number + 1, 0)], number)

    # What the leader calls, and the others hear

    def tell(self, call: str, *arguments: Any) -> None:
        """Have the others make a call. The leader makes it itself; where another, or one alone, calls this, nothing happens."""
        if self.leads_others:
            self.tell_each(call, [arguments] * len(self._pipes))

    def tell_each(self, call: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """The same with arguments of its own for each other process. Their tensors arrive on the device of its receiver."""
        for number, (pipe, own) in enumerate(zip(self._pipes, arguments, strict=True), 1):
            tensors: list[torch.Tensor] = []
            file = io.BytesIO()
            _Pickler(file, tensors).dump((call, own))
            forms = [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]
            pipe.send((forms, file.getvalue()))
            for tensor in tensors:
                if tensor.numel():
                    dist.send(_bytes_of(tensor.detach().to(self.device).contiguous()), number)

    def hear(self) -> tuple[str, tuple[Any, ...]] | None:
        """The leader's next call; None where the leader is gone. For the others."""
        try:
            forms, data = self._pipes[0].recv()
        except (EOFError, OSError):
            return None
        tensors = [torch.empty(shape, dtype=dtype, device=self.device) for dtype, shape in forms]
        for tensor in tensors:
            if tensor.numel():
                dist.recv(_bytes_of(tensor), 0)
        call: tuple[str, tuple[Any, ...]] = _Unpickler(io.BytesIO(data), tensors).load()
        return call


ALONE = Team()


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """A view of a contiguous tensor, uint8 [N]: what every backend of `torch.distributed` can send."""
    return tensor.view(-1).view(torch.uint8)


class _Pickler(pickle.Pickler):
    """Pickles with numbers in place of tensors, which it lists: they go another way. Only between processes that have started
    each other."""

    def __init__(self, file: io.BytesIO, tensors: list[torch.Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, torch.Tensor):
            return None
        self._tensors.append(obj)
        return len(self._tensors) - 1


class _Unpickler(pickle.Unpickler):
    """The other end."""

    def __init__(self, file: io.BytesIO, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_load(self, pid: Any) -> torch.Tensor:
        tensor: torch.Tensor = self._tensors[pid]
        return tensor
