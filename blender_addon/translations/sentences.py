# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the translation of a finished English sentence.

Within PBRfit, and on the wire from the backend, all sentences are English; they are translated where they are shown. So a
sentence comes with its values in it, and the texts with placeholders that the catalogue knows say which parts those are:
of `"Cube" has no UV map.` the catalogue knows `"{name}" has no UV map.`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

PLACEHOLDER = re.compile(r"\{(\w+)\}")
SENTENCE_END = re.compile(r"(?<=[.!?:]) (?=\S)")
NUMBER_AT_END = re.compile(r"(.*\D) (\d[\d.]*)")
FEWEST_LETTERS = 4
LONGEST, MOST_SENTENCES = 4000, 8  # what is longer ends in the log of a process

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
        *(
            "inside",
            "kind",
            "kinds",
            "label",
            "lack",
            "last_words",
            "last_loss",
            "lobes",
            "lost",
            "made",
            "message",
            "mode",
            "names",
        ),
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
        *("allowed", "last", "others"),
        *("use", "use_studio", "user", "value", "verdicts", "what", "where", "why", "word", "words"),
    }
)
"""Placeholders whose values are words by PBRfit, which are translated too. Values of all others are names and numbers. The number
of a placeholder, as in `word2`, does not count."""

Lookup = Callable[[str], str]


def is_of_our_own(name: str) -> bool:
    """Whether a placeholder is for words by PBRfit."""
    return name.rstrip("0123456789") in WORDS_OF_OUR_OWN


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
        if sentence in self._texts:
            return lookup(sentence)
        ends = list(SENTENCE_END.finditer(sentence))[:MOST_SENTENCES]
        places = [(0, 0), *((end.start(), end.end()) for end in ends), (len(sentence), len(sentence))]
        found = self._all_known(sentence, places, lookup) or self._known(sentence, lookup)
        if found is not None or not ends:
            return found or sentence
        heads = [(self._known(sentence[: end.start()], lookup), end) for end in ends]
        head, end = next((pair for pair in heads if pair[0] is not None), (sentence[: ends[0].start()], ends[0]))
        return f"{head} {self.translated(sentence[end.end() :], lookup)}"

    def _all_known(self, sentence: str, places: list[tuple[int, int]], lookup: Lookup) -> str | None:
        """At least two sentences that the catalogue knows each; None for others. This comes before a text that fits the whole:
        a value at its end would take in all sentences that follow.

        places: where a sentence may end, and where the next one begins.
        """
        rests: dict[int, str] = {len(places) - 1: ""}
        for first in range(len(places) - 2, -1, -1):
            for last in range(first + 1, len(places) - (first == 0)):
                known = None
                if last in rests:
                    known = self._known(sentence[places[first][1] : places[last][0]], lookup)
                if known is not None:
                    rests[first] = f"{known} {rests[last]}".rstrip()
                    break
        return rests.get(0)

    def _known(self, sentence: str, lookup: Lookup, is_part: bool = False) -> str | None:
        found = self._match(sentence, is_part)
        if found is None:
            return None
        text, values = found
        shown = {name: self._value(name, value, lookup) for name, value in values.items()}
        return PLACEHOLDER.sub(lambda place: shown.get(place[1], place[0]), lookup(text))

    def _value(self, name: str, value: str, lookup: Lookup) -> str:
        if not value or not is_of_our_own(name):
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
        self._literals = literals

    @cached_property
    def _form(self) -> re.Pattern[str]:
        # Words of PBRfit's own may be left out of a sentence.
        values = [".*?" if is_of_our_own(name) else ".+?" for name in self._names]
        after = [re.escape(literal) for literal in self._literals[1:]]
        between = [f"({value}){literal}" for value, literal in zip(values, after, strict=True)]
        return re.compile(re.escape(self._literals[0]) + "".join(between), re.DOTALL)

    def values_in(self, sentence: str) -> dict[str, str] | None:
        if self._longest not in sentence:
            return None
        found = self._form.fullmatch(sentence)
        return dict(zip(self._names, found.groups(), strict=True)) if found is not None else None
