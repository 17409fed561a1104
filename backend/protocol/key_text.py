"""Whether a text is a key, without loading ZeroMQ: the command line reads its arguments before it needs that."""

from __future__ import annotations

KEY_LENGTH = 40
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
"""Of Z85, https://rfc.zeromq.org/spec/32: five of them are four bytes."""


def is_key(text: object) -> bool:
    """Whether this is a key as text."""
    if not isinstance(text, str) or len(text) != KEY_LENGTH or not set(text) <= set(_DIGITS):
        return False
    for first in range(0, KEY_LENGTH, 5):
        value = 0
        for digit in text[first : first + 5]:
            value = 85 * value + _DIGITS.index(digit)
        if value >= 1 << 32:
            return False
    return True
