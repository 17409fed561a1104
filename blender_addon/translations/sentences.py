# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the translation of a finished English sentence.

Within PBRfit, and on the wire from the backend, all sentences are English; they are translated where they are shown. So a
sentence comes with its values in it, and the texts with placeholders that the catalogue knows say which parts those are:
of `"Cube" has no UV map.` the catalogue knows `"{name}" has no UV map.`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

PLACEHOLDER = re.compile(r"\{(\w+)\}")
SENTENCE_END = re.compile(r"(?<=[.!?:]) (?=\S)")
NUMBER_AT_END = re.compile(r"(.*\D) (\d[\d.]*)")
FEWEST_LETTERS = 4
LONGEST, MOST_SENTENCES = 4000, 12  # what is longer ends in the log of a process

WORDS_OF_OUR_OWN = frozenset(
    {
        *(
            "build",
            "can",
            "cause",
            "changing",
            "choice",
            "cure",
            "emitted",
            "error",
            "first",
            "found",
            "gives",
            "holds",
        ),
        *("inside", "kind", "kinds", "label", "lack", "last_loss", "lobes", "lost", "made", "message", "mode", "names"),
        *(
            "near",
            "note",
            "noun",
            "place",
            "reason",
            "scores",
            "seen_from",
            "shares",
            "sizes",
            "subject",
            "target",
            "text",
        ),
        *("use", "use_studio", "user", "value", "verdicts", "what", "where", "why", "word", "words"),
    }
)
"""Placeholders whose values are words by PBRfit, which are translated too. Values of all others are names and numbers. The number
of a placeholder, as in `word2`, does not count."""

Lookup = Callable[[str], str]


class Sentences:
    """The texts of a catalogue. texts: English, with named placeholders in curly brackets."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = set(texts)
        patterns = [_Pattern(text) for text in self._texts if PLACEHOLDER.search(text)]
        # That with the most of its own text says most exactly what a sentence is.
        self._patterns = sorted(patterns, key=lambda pattern: (-pattern.letters, pattern.text))
        self._match = lru_cache(maxsize=2048)(self._find)

    def translated(self, sentence: str, lookup: Lookup) -> str:
        """A sentence, or several, in another language; what the catalogue does not know stays as it is.

        lookup: the translation of a text of the catalogue, placeholders and all; the text itself where there is none.
        """
        if len(sentence) > LONGEST:
            return sentence
        known = self._known(sentence, lookup)
        if known is not None:
            return known
        ends = list(SENTENCE_END.finditer(sentence))[:MOST_SENTENCES]
        for end in ends:
            head = self._known(sentence[: end.start()], lookup)
            if head is not None:
                return f"{head} {self.translated(sentence[end.end() :], lookup)}"
        if not ends:
            return sentence
        return f"{sentence[: ends[0].start()]} {self.translated(sentence[ends[0].end() :], lookup)}"

    def _known(self, sentence: str, lookup: Lookup, is_part: bool = False) -> str | None:
        found = self._match(sentence, is_part)
        if found is None:
            return None
        text, values = found
        shown = {name: self._value(name, value, lookup) for name, value in values.items()}
        return PLACEHOLDER.sub(lambda place: shown.get(place[1], place[0]), lookup(text))

    def _value(self, name: str, value: str, lookup: Lookup) -> str:
        if name.rstrip("0123456789") not in WORDS_OF_OUR_OWN:
            return value
        known = self._known(value, lookup, is_part=True)
        if known is not None:
            return known
        for separator in ("; ", ", "):
            first, found, rest = value.partition(separator)
            if found and not first.count('"') % 2:
                return self._value(name, first, lookup) + separator + self._value(name, rest, lookup)
        number = NUMBER_AT_END.fullmatch(value)
        if number is not None:
            return f"{self._value(name, number[1], lookup)} {number[2]}"
        translated = self.translated(value, lookup)
        # Blender itself may know a word of its own.
        return lookup(value) if translated == value else translated

    def _find(self, sentence: str, is_part: bool) -> tuple[str, dict[str, str]] | None:
        if sentence in self._texts:
            return sentence, {}
        for pattern in self._patterns:
            values = pattern.values_in(sentence) if is_part or not pattern.fits_anything else None
            if values is not None and not (is_part and any(value.count('"') % 2 for value in values.values())):
                return pattern.text, values
        return None


class _Pattern:
    """A text with placeholders, and the sentences that are made from it."""

    def __init__(self, text: str) -> None:
        parts = PLACEHOLDER.split(text)
        literals, names = parts[::2], parts[1::2]
        self.text = text
        self.letters = sum(character.isalpha() for literal in literals for character in literal)
        self.fits_anything = self.letters < FEWEST_LETTERS and not literals[0]
        self._names = names
        self._longest = max(literals, key=len)
        between = [f"(.+?){re.escape(literal)}" for literal in literals[1:]]
        self._form = re.compile(re.escape(literals[0]) + "".join(between), re.DOTALL)

    def values_in(self, sentence: str) -> dict[str, str] | None:
        if self._longest not in sentence:
            return None
        found = self._form.fullmatch(sentence)
        return dict(zip(self._names, found.groups(), strict=True)) if found is not None else None
