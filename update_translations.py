"""Bring the catalogues of translations up to date with the texts in the source.

    python update_translations.py [--check]

Each catalogue is a file blender_addon/translations/LANGUAGE.po, as gettext has it, named as Blender names the language.
Texts that are new get an empty translation, or that of a similar text that is gone, marked "fuzzy": both are to be written by a
person. Texts that are gone leave the catalogue. --check changes nothing; it lists what is missing and what is gone, and ends
with status 1 if there is any.

A new language: an empty file, then this.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))

from support.catalogues import FOLDER, po  # noqa: E402
from support.shown_texts import ShownText, shown_texts  # noqa: E402

SIMILAR = 0.8
HEADER = """Project-Id-Version: PBRfit
Language: {language}
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
"""


@dataclass(frozen=True)
class Changes:
    """What a catalogue lacks: missing texts (new, or without a translation of their own), and texts that are gone."""

    missing: list[str]
    gone: list[str]


def updated(entries: list[po.Entry], shown: list[ShownText]) -> tuple[list[po.Entry], Changes]:
    """The entries for the texts that are shown now, in the order of the source, and what changed."""
    known = {entry.text: entry for entry in entries}
    sources: dict[str, list[str]] = {}
    for item in shown:
        sources.setdefault(item.text, []).append(item.source)
    gone = {text: entry for text, entry in known.items() if text not in sources}
    result = []
    for text, files in sources.items():
        entry = known.get(text) or _like(text, gone)
        result.append(replace(entry, text=text, sources=tuple(files)))
    missing = [entry.text for entry in result if not entry.translation or entry.fuzzy]
    return result, Changes(missing, list(gone))


def _like(text: str, gone: dict[str, po.Entry]) -> po.Entry:
    """A new entry, with the translation of the most similar text that is gone."""
    similar = difflib.get_close_matches(text, [other for other in gone if gone[other].translation], 1, SIMILAR)
    return replace(gone[similar[0]], fuzzy=True) if similar else po.Entry(text)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Bring the catalogues of translations up to date with the source.")
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 where a translation is missing")
    only_check = parser.parse_args().check
    shown = shown_texts(ROOT)
    status = 0
    for path in sorted(FOLDER.glob("*.po")):
        text = path.read_text(encoding="utf-8")
        entries, changes = updated(po.read(text), shown)
        for kind, texts in (("missing", changes.missing), ("gone", changes.gone)):
            for one in texts:
                print(f"{path.name}: {kind}: {one!r}")
        print(f"{path.name}: {len(entries)} texts, {len(changes.missing)} missing, {len(changes.gone)} gone")
        status |= bool(changes.missing or (only_check and changes.gone))
        if not only_check:
            header = po.header_of(text) or HEADER.format(language=path.stem)
            path.write_text(po.write(entries, header), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
