"""Triton: vectors as tuples of three blocks, one sample a lane, and rows of four values as blocks of one value each.

Reads and atomic additions work on four values: a lane then has a whole row, and does not wait for another lane's part of it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@triton.jit
def plus(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@triton.jit
def minus(a, b):
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@triton.jit
def times(a, b):
    """Value by value."""
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@triton.jit
def scaled(a, factor):
    return a[0] * factor, a[1] * factor, a[2] * factor


@triton.jit
def cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@triton.jit
def where_three(condition, a):
    """a where the condition is true, else zero."""
    return tl.where(condition, a[0], 0.0), tl.where(condition, a[1], 0.0), tl.where(condition, a[2], 0.0)


@triton.jit
def load_three(values, row, valid):
    """Rows of three."""
    at = values + row * 3
    first = tl.load(at, mask=valid, other=0.0)
    second = tl.load(at + 1, mask=valid, other=0.0)
    return first, second, tl.load(at + 2, mask=valid, other=0.0)


@triton.jit
def columns_of_four(tile, BLOCK: tl.constexpr):
    """[BLOCK, 4] -> its columns, four [BLOCK]."""
    even, odd = tl.split(tl.reshape(tile, (BLOCK, 2, 2)))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def rows_of_four(first, second, third, fourth, BLOCK: tl.constexpr):
    """The inverse of `columns_of_four`."""
    return tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), (BLOCK, 4))
