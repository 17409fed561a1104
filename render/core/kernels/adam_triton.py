"""Triton: a step of Adam (Kingma and Ba, 2015). The rate and the number of the step come from the device."""

from __future__ import annotations

import triton
import triton.language as tl

_BETA_1 = tl.constexpr(0.9)
_BETA_2 = tl.constexpr(0.99)
_LOG_BETA_1 = tl.constexpr(-0.10536051565782628)
_LOG_BETA_2 = tl.constexpr(-0.01005033585350145)
_EPSILON = tl.constexpr(1e-8)


@triton.jit
def adam_change(gradient, first, second, rate, count, epsilon):
    """The amount to subtract from the value, and the new moments; `count` is the number of this step, from 1."""
    first = _BETA_1 * first + (1 - _BETA_1) * gradient
    second = _BETA_2 * second + (1 - _BETA_2) * gradient * gradient
    unbiased = first / (1 - tl.exp(count * _LOG_BETA_1))
    deviation = tl.sqrt(second / (1 - tl.exp(count * _LOG_BETA_2)))
    return rate * unbiased / (deviation + epsilon), first, second


@triton.jit(do_not_specialize=["values"])
def adam_values(value, gradient, first, second, rate, count, values, BLOCK: tl.constexpr):
    """A step for `values` values, in place; `rate` and `count` point to one float each."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = at < values
    change, new_first, new_second = adam_change(
        tl.load(gradient + at, mask=valid, other=0.0),
        tl.load(first + at, mask=valid, other=0.0),
        tl.load(second + at, mask=valid, other=0.0),
        tl.load(rate),
        tl.load(count),
        _EPSILON,
    )
    tl.store(first + at, new_first, mask=valid)
    tl.store(second + at, new_second, mask=valid)
    tl.store(value + at, tl.load(value + at, mask=valid, other=0.0) - change, mask=valid)
