# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues of translations in the .po format of gettext, as far as PBRfit uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

LICENSE = "# SPDX-License-Identifier: GPL-3.0-or-later"
FUZZY, HAS_PLACEHOLDERS = "fuzzy", "python-brace-format"


@dataclass(frozen=True)
class Entry:
    """A text and its translation.

    text: English, with named placeholders in curly brackets. translation: empty while there is none. sources: the files that
    show it. fuzzy: the translation is that of a similar text, and not used.
    """

    text: str
    translation: str = ""
    sources: tuple[str, ...] = ()
    fuzzy: bool = False


def read(catalogue: str) -> list[Entry]:
    """The entries of a catalogue, without its header. Raises ValueError, which names the line, where it is not understood."""
    return [entry for entry in _entries(catalogue) if entry.text]


def _entries(catalogue: str) -> Iterator[Entry]:
    fields = {"msgid": "", "msgstr": ""}
    sources: list[str] = []
    field, fuzzy = "", False
    for number, line in enumerate([*catalogue.splitlines(), ""], start=1):
        word, _, rest = line.partition(" ")
        if not line.strip():
            if field:
                yield Entry(fields["msgid"], fields["msgstr"], tuple(sources), fuzzy)
            fields, sources, field, fuzzy = dict.fromkeys(fields, ""), [], "", False
        elif word == "#:":
            sources += rest.split()
        elif word == "#,":
            fuzzy = FUZZY in rest
        elif not line.startswith("#"):
            field, rest = (word, rest) if word in fields else (field, line)
            try:
                fields[field] += json.loads(rest)  # the same quotes and escapes
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"line {number} is no part of an entry: {line}") from error


def write(entries: list[Entry], header: str) -> str:
    """A catalogue of the entries, in their order. header: what a catalogue says of itself, a line for each field."""
    first = "\n".join([LICENSE, _field("msgid", ""), _field("msgstr", header)])
    return "\n\n".join([first, *map(_written, entries)]) + "\n"


def _written(entry: Entry) -> str:
    flags = [FUZZY] * entry.fuzzy + [HAS_PLACEHOLDERS] * ("{" in entry.text)
    lines = [f"#: {source}" for source in entry.sources]
    lines += [f"#, {', '.join(flags)}"] * bool(flags)
    return "\n".join([*lines, _field("msgid", entry.text), _field("msgstr", entry.translation)])


def _field(name: str, text: str) -> str:
    """A field; a text of several lines takes one for each."""
    lines = text.splitlines(keepends=True)
    quoted = [_quoted(line) for line in lines] or ['""']
    return f"{name} {quoted[0]}" if len(quoted) == 1 else "\n".join([f'{name} ""', *quoted])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def header_of(catalogue: str) -> str:
    """What a catalogue says of itself, a line for each field."""
    return next((entry.translation for entry in _entries(catalogue) if not entry.text), "")
