# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender gets the catalogues; what it cannot translate itself, sentences with values in them, is translated here.

Blender translates by itself: labels, tooltips, names of settings and enum items, and every text without values that is
drawn or reported. The artist's preferences say what of that is translated, and they count here too.
"""

from __future__ import annotations

import importlib.resources

import bpy

from .po import Entry, read
from .sentences import Lookup, Sentences

CONTEXTS = ("*", "Operator", "PBRfit")
"""Where Blender looks for the texts: most of them, those of buttons, and those of classes that name the last one as their
`bl_translation_context`, because Blender itself translates their word in another sense."""

ENGLISH = ("", "en_US")  # the first where Blender has no languages

_sentences = Sentences(())


def tr(sentence: str) -> str:
    """A sentence for the interface, in its language."""
    return _translated(sentence, bpy.app.translations.pgettext_iface)


def tr_tip(sentence: str) -> str:
    """A sentence for a tooltip, in the language of the interface if tooltips are translated."""
    return _translated(sentence, bpy.app.translations.pgettext_tip)


def tr_report(sentence: str) -> str:
    """A sentence that an operator reports, in the language of the interface if reports are translated."""
    return _translated(sentence, bpy.app.translations.pgettext_rpt)


def _translated(sentence: str, lookup: Lookup) -> str:
    return sentence if bpy.app.translations.locale in ENGLISH else _sentences.translated(sentence, lookup)


def without_level(error: RuntimeError) -> str:
    """What an operator reported before Blender raised this error, without the word for errors that Blender puts before it."""
    words = {"Error", bpy.app.translations.pgettext_rpt("Error"), bpy.app.translations.pgettext_tip("Error")}
    level, colon, rest = str(error).partition(": ")
    return (rest if colon and level in words else str(error)).strip()


def catalogues() -> dict[str, list[Entry]]:
    """The entries of all languages that the extension has, by the language as Blender names it."""
    files = [path for path in importlib.resources.files(__package__).iterdir() if path.name.endswith(".po")]
    return {path.name.removesuffix(".po"): read(path.read_text(encoding="utf-8")) for path in files}


def register() -> None:
    """Give the catalogues to Blender."""
    global _sentences
    found = catalogues()
    _sentences = Sentences({entry.text for entries in found.values() for entry in entries})
    translations = {
        language: {
            (context, entry.text): entry.translation
            for entry in entries
            for context in CONTEXTS
            if entry.translation and not entry.fuzzy
        }
        for language, entries in found.items()
    }
    bpy.app.translations.register(__package__, translations)


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(__package__)
