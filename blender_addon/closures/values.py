# SPDX-License-Identifier: GPL-3.0-or-later
"""Values at a point of the surface, as expressions of what the inputs of one closure's node have there."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

from ..common.reached_nodes import Reached, source_of

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Number:
    """The same everywhere: a color or a vector; a scalar is three equal numbers."""

    value: Triple

    @classmethod
    def of(cls, scalar: float) -> Number:
        """A scalar."""
        return cls((scalar, scalar, scalar))


@dataclass(frozen=True)
class Input:
    """What an input of the node has, by its identifier; as a scalar it is three equal numbers."""

    identifier: str


@dataclass(frozen=True)
class Product:
    """Component by component."""

    first: Value
    second: Value


@dataclass(frozen=True)
class Difference:
    """Component by component."""

    first: Value
    second: Value


@dataclass(frozen=True)
class Sum:
    """Component by component."""

    first: Value
    second: Value


Value = Number | Input | Product | Difference | Sum

ONE, ZERO = Number.of(1.0), Number.of(0.0)


def product(*values: Value) -> Value:
    """The product of values, as simple as it can be said."""
    result: Value = ONE
    for value in values:
        if result == ONE:
            result = value
        elif value == ZERO or result == ZERO:
            result = ZERO
        elif value != ONE:
            result = Product(result, value)
    return result


def complement(value: Value) -> Value:
    """One minus a value."""
    return Difference(ONE, value)


def inputs_of(value: Value) -> Iterator[str]:
    """The identifiers of the inputs that an expression reads."""
    if isinstance(value, Input):
        yield value.identifier
    elif not isinstance(value, Number):
        yield from inputs_of(value.first)
        yield from inputs_of(value.second)


def input_constant(item: Reached, identifier: str) -> Triple | None:
    """What an input of a reached node has everywhere; None if a node computes it."""
    source = source_of(item, identifier)
    if source is None:
        return None
    if source.computed and source.node.bl_idname not in {"ShaderNodeValue", "ShaderNodeRGB"}:
        return None
    return triple(source.socket.default_value)


def constant(value: Value, item: Reached) -> Triple | None:
    """An expression of a reached node's inputs as numbers; None if a node computes one that matters."""
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Input):
        return input_constant(item, value.identifier)
    first, second = constant(value.first, item), constant(value.second, item)
    if isinstance(value, Product) and (0.0, 0.0, 0.0) in (first, second):
        return 0.0, 0.0, 0.0
    if first is None or second is None:
        return None
    apply = {Product: operator.mul, Difference: operator.sub, Sum: operator.add}[type(value)]
    x, y, z = (apply(one, other) for one, other in zip(first, second, strict=True))
    return x, y, z


def triple(value: object) -> Triple:
    """A socket's value as three numbers."""
    if isinstance(value, int | float):
        return float(value), float(value), float(value)
    x, y, z = (float(part) for part in value[:3])  # type: ignore[index]
    return x, y, z
