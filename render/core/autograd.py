"""Custom gradients, typed."""

from __future__ import annotations

from typing import Any, Protocol

import torch


class SavingContext(Protocol):
    """The first argument of a custom gradient's two functions, where it keeps tensors alone."""

    @property
    def saved_tensors(self) -> tuple[torch.Tensor, ...]: ...

    @property
    def needs_input_grad(self) -> tuple[bool, ...]: ...

    def save_for_backward(self, *tensors: torch.Tensor) -> None: ...


def apply_function(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """`function.apply(*arguments)`: what its `forward` returns. PyTorch leaves the types out, so the caller states them."""
    return function.apply(*arguments)  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
