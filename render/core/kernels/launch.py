"""How many programs a kernel starts."""

from __future__ import annotations


def grid(count: int, block: int = 128) -> tuple[int]:
    """The programs for `count` lanes, `block` lanes in each; the last one may have lanes to spare."""
    return ((count + block - 1) // block,)
