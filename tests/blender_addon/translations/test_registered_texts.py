"""Every text that Blender knows of the registered add-on, as Blender has it, is in the catalogues."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
from support.catalogues import FOLDER, po
from support.text_reader import has_words

OF_BLENDER = {"Layout", "Defines the structure of the panel in the UI"}


def classes_of(addon) -> Iterator[type]:
    """The add-on's classes that Blender draws."""
    base = (bpy.types.Operator, bpy.types.Panel, bpy.types.Menu, bpy.types.PropertyGroup, bpy.types.AddonPreferences)
    for kind in base:
        yield from (one for one in subclasses(kind) if one.__module__.startswith(addon.name) and one.is_registered)


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def texts_of(addon, kind: type) -> Iterator[str]:
    """Label, tooltip, and those of the settings with their items."""
    yield getattr(kind, "bl_label", "")
    if issubclass(kind, (bpy.types.Operator, bpy.types.Menu)):
        yield getattr(kind, "bl_description", "") or (kind.__doc__ or "")
    own = [one for one in kind.__mro__ if one.__module__.startswith(addon.name)]
    names = [name for one in own for name in vars(one).get("__annotations__", ())]
    for item in rna_of(kind).properties:
        if item.identifier in names and not item.is_hidden:
            yield from (item.name, item.description)
            for choice in getattr(item, "enum_items_static", ()):
                yield from (choice.name, choice.description)


def rna_of(kind: type) -> bpy.types.Struct:
    """What Blender knows of a class."""
    if issubclass(kind, bpy.types.Operator):
        group, name = kind.bl_idname.split(".")
        return getattr(getattr(bpy.ops, group), name).get_rna_type()
    return kind.bl_rna


def test_blender_finds_every_label_and_tooltip(addon):
    texts = {(kind.__name__, text) for kind in classes_of(addon) for text in texts_of(addon, kind)}
    shown = {(name, text) for name, text in texts if has_words(text) and text not in OF_BLENDER}
    assert len(shown) > 250
    for path in FOLDER.glob("*.po"):
        known = {entry.text for entry in po.read(path.read_text(encoding="utf-8"))}
        assert {(name, text) for name, text in shown if text not in known} == set(), path.name


def test_tooltips_have_one_paragraph(addon):
    """Blender would show the line breaks and the indentation of a docstring."""
    texts = [text for kind in classes_of(addon) for text in texts_of(addon, kind)]
    assert [text for text in texts if "\n" in text] == []


def test_english_stays_where_blender_has_no_languages_or_another(addon):
    translate = addon.translations.translate
    for translated in (translate.tr, translate.tr_tip, translate.tr_report):
        assert translated('"Cube" has no UV map. Remove one.') == '"Cube" has no UV map. Remove one.'


def test_what_an_operator_reported_is_told_from_the_word_before_it(addon):
    translate = addon.translations.translate
    assert translate.without_level(RuntimeError("Error: The disk is full: no room.\n")) == "The disk is full: no room."
    assert translate.without_level(RuntimeError("The disk is full: no room.")) == "The disk is full: no room."


def test_the_catalogues_are_taken_back_and_given_again(addon):
    translate = addon.translations.translate
    translate.unregister()
    translate.register()
    assert set(translate.catalogues()) == {path.stem for path in FOLDER.glob("*.po")}
