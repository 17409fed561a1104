"""The catalogues of translations have all texts that the add-on shows, and a finished sentence finds its translation."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support.catalogues import FOLDER, po, sentences
from support.shown_texts import NOT_SHOWN, SILENT, shown_texts, written_texts
from support.text_reader import TextReader

import update_translations

ROOT = Path(__file__).parents[1]
CATALOGUES = sorted(FOLDER.glob("*.po"))
SHOWN = shown_texts(ROOT)
LANGUAGES = pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
PLACEHOLDER = re.compile(r"\{\w+\}")


def entries_of(path: Path) -> list:
    return po.read(path.read_text(encoding="utf-8"))


def texts_in(source: str) -> list[str]:
    """What a made-up file of the add-on shows."""
    return list(TextReader(source, is_addon=True).texts())


class TestCatalogues:
    """All languages."""

    def test_german_is_there(self):
        assert "de" in {path.stem for path in CATALOGUES}
        assert len({item.text for item in SHOWN}) > 900

    @LANGUAGES
    def test_no_text_is_missing_and_none_is_stale(self, path):
        _, changes = update_translations.updated(entries_of(path), SHOWN)
        assert (changes.missing, changes.gone) == ([], []), "run python update_translations.py, and translate"

    @LANGUAGES
    def test_it_is_as_the_tool_writes_it(self, path):
        written = path.read_text(encoding="utf-8")
        entries, _ = update_translations.updated(po.read(written), SHOWN)
        assert po.write(entries, po.header_of(written)) == written

    @LANGUAGES
    def test_translations_have_the_placeholders_of_their_texts(self, path):
        wrong = [
            entry.text
            for entry in entries_of(path)
            if sorted(PLACEHOLDER.findall(entry.text)) != sorted(PLACEHOLDER.findall(entry.translation))
        ]
        assert wrong == []

    @LANGUAGES
    def test_translations_begin_and_end_as_their_texts_do(self, path):
        """They are put together with others: spaces, periods and colons count."""
        wrong = [
            entry.translation
            for entry in entries_of(path)
            if (entry.text[-1] in ".:" and entry.translation[-1] != entry.text[-1])
            or (entry.translation.endswith(".") and not entry.text.endswith("."))
            or (entry.text.startswith(" ") and entry.translation[0] not in " ,")
        ]
        assert wrong == []

    def test_lists_of_what_is_lost_are_german(self):
        translations = {entry.text: entry.translation for entry in entries_of(FOLDER / "de.po")}
        known = sentences.Sentences(translations)
        said = known.translated("Loses a coat, sheen and a thin film", lambda text: translations.get(text, text))
        assert said == "Verliert Lack, Glanzflor (Sheen) und dünner Film"

    @LANGUAGES
    def test_each_text_with_values_finds_its_own_translation(self, path):
        """Whatever is put in: no other text takes its place."""
        entries = entries_of(path)
        translations = {entry.text: entry.translation for entry in entries}
        known = sentences.Sentences(translations)
        wrong = []
        for entry in entries:
            names = PLACEHOLDER.findall(entry.text)
            values = {name: f"Value{number}" for number, name in enumerate(names)}
            filled, expected = with_values(entry.text, values), with_values(entry.translation, values)
            if names and not is_only_a_part(entry.text):
                found = known.translated(filled, lambda text: translations.get(text, text))
                wrong += [(entry.text, found)] * (found != expected)
        assert wrong == []


def with_values(text: str, values: dict[str, str]) -> str:
    """A text with values in place of its placeholders."""
    return PLACEHOLDER.sub(lambda place: values[place[0]], text)


def is_only_a_part(text: str) -> bool:
    """Whether a text is only looked for within others, since it would fit too much."""
    letters = [letter for letter in PLACEHOLDER.sub("", text) if letter.isalpha()]
    return len(letters) < sentences.FEWEST_LETTERS and text.startswith("{")


GERMAN = {
    '"{name}" has no UV map.': '"{name}" hat keine UV-Map.',
    "Unwrap it: UV > Smart UV Project.": "Abwickeln: UV > Smart UV Projekt.",
    '"{name}" cannot be baked: {reason}.': '"{name}" kann nicht gebacken werden: {reason}.',
    "it uses no nodes": "es verwendet keine Knoten",
    "{done} of {total} MiB": "{total} MiB, davon {done}",
    "Loses {lost}": "Verliert {lost}",
    "a coat": "Lack",
    "a thin film": "einen dünnen Film",
    "{words} and {words2}": "{words} und {words2}",
    "{words} more": "{words} weitere",
    "Cannot write to {folder}: {strerror}.": "Kann nicht nach {folder} schreiben: {strerror}.",
    "Fitting {count} maps{label}": "{count} Maps werden angepasst{label}",
    " of set {place}": ", Satz {place}",
    "not yet": "",
}


class TestSentences:
    """On a made-up catalogue."""

    def translated(self, sentence: str) -> str:
        known = sentences.Sentences(GERMAN)
        return known.translated(sentence, lambda text: GERMAN.get(text) or text)

    def test_values_are_put_into_the_translation(self):
        assert self.translated('"Cube" has no UV map.') == '"Cube" hat keine UV-Map.'
        assert self.translated("3 of 40 MiB") == "40 MiB, davon 3"

    def test_names_are_not_translated(self):
        assert self.translated('"a coat" has no UV map.') == '"a coat" hat keine UV-Map.'
        assert self.translated('Loses "Salt and Pepper"') == 'Verliert "Salt and Pepper"'

    def test_words_of_pbrfit_in_a_sentence_are_translated(self):
        assert self.translated('"A" cannot be baked: it uses no nodes.') == (
            '"A" kann nicht gebacken werden: es verwendet keine Knoten.'
        )

    def test_lists_of_words_are_translated(self):
        assert (
            self.translated("Loses a coat, a thin film and 2 more") == "Verliert Lack, einen dünnen Film und 2 weitere"
        )

    def test_several_sentences_are_translated_each(self):
        assert self.translated('"Cube" has no UV map. Unwrap it: UV > Smart UV Project.') == (
            '"Cube" hat keine UV-Map. Abwickeln: UV > Smart UV Projekt.'
        )

    def test_a_value_at_the_end_does_not_take_the_next_sentence(self):
        cure = "Unwrap it: UV > Smart UV Project."
        assert self.translated(f"Cannot write to /a: no room. {cure}") == (
            "Kann nicht nach /a schreiben: no room. Abwickeln: UV > Smart UV Projekt."
        )
        assert self.translated("Cannot write to /a: it is b. c.") == "Kann nicht nach /a schreiben: it is b. c."

    def test_words_may_be_left_out(self):
        assert self.translated("Fitting 32 maps") == "32 Maps werden angepasst"
        assert self.translated("Fitting 32 maps of set 2") == "32 Maps werden angepasst, Satz 2"

    def test_what_is_not_known_stays(self):
        assert self.translated("What nobody has translated.") == "What nobody has translated."
        assert self.translated("not yet") == "not yet"
        assert self.translated('Odd. "Cube" has no UV map.') == 'Odd. "Cube" hat keine UV-Map.'
        assert self.translated("salt and pepper") == "salt and pepper"

    def test_braces_and_lines_in_values_stay(self):
        assert self.translated('"{a}\n%s" has no UV map.') == '"{a}\n%s" hat keine UV-Map.'

    def test_long_logs_take_no_time(self):
        log = '"Cube" cannot be baked: x " of and. ' * 100
        assert self.translated(log) != log
        log *= 10
        assert self.translated(log) == log


class TestPoFiles:
    def test_what_is_written_is_read_again(self):
        entries = [
            po.Entry('Say "no" to {name}\n', 'Sag "nein" zu {name}\n', ("a.py", "b.py")),
            po.Entry("Tab\tand \\ stroke", "", ("a.py",)),
            po.Entry("two\nlines", "zwei\nZeilen", (), fuzzy=True),
        ]
        written = po.write(entries, "Language: de\n")
        assert po.read(written) == entries
        assert po.header_of(written) == "Language: de\n"

    def test_other_programs_files_are_read(self):
        """They wrap long lines, and keep old entries as comments."""
        text = '# a translator\nmsgid ""\n"a "\n"b"\nmsgstr "c"\n\n#~ msgid "old"\n#~ msgstr "alt"\n'
        assert po.read(text) == [po.Entry("a b", "c")]

    def test_what_is_no_entry_is_named(self):
        with pytest.raises(ValueError, match="line 2"):
            po.read('msgid "a"\nmsgstr b\n')


class TestUpdating:
    def shown(self, *texts: str) -> list:
        return [update_translations.ShownText(text, "a.py") for text in texts]

    def test_a_changed_text_keeps_its_translation_as_a_proposal(self):
        old = [po.Entry("Choose another folder.", "Einen anderen Ordner wählen.")]
        entries, changes = update_translations.updated(old, self.shown("Choose another folder, please."))
        assert entries[0].translation == "Einen anderen Ordner wählen."
        assert entries[0].fuzzy
        assert changes == update_translations.Changes(["Choose another folder, please."], ["Choose another folder."])

    def test_a_new_text_is_missing_until_it_is_translated(self):
        entries, changes = update_translations.updated([], self.shown("Cancel"))
        assert entries == [po.Entry("Cancel", "", ("a.py",))]
        assert changes.missing == ["Cancel"]
        _, changes = update_translations.updated([po.Entry("Cancel", "Abbrechen")], self.shown("Cancel"))
        assert changes.missing == []


def test_labels_and_reports_with_values_are_translated_here():
    """Blender translates only texts without values. Paragraphs and lines (`draw_text`, `draw_line`) do it themselves."""
    found = {}
    for path in sorted((ROOT / "blender_addon").rglob("*.py")):
        lines = TextReader(path.read_text(encoding="utf-8"), is_addon=True).untranslated()
        found |= {f"{path.relative_to(ROOT)}:{line}": "needs tr or tr_report" for line in lines}
    assert found == {}


class TestFindingTexts:
    """In made-up source."""

    def test_sentences_are_found_wherever_they_are_written(self):
        assert texts_in('raise Error(f"{item.name} has no map.", "Give it one.")') == [
            "{name} has no map.",
            "Give it one.",
        ]
        assert texts_in('said = "a coat" if thick else "a thin film"') == ["a coat", "a thin film"]

    def test_labels_are_found_though_they_are_one_word(self):
        assert texts_in('layout.label(text="Maps")') == ["Maps"]
        assert texts_in('seed: IntProperty(name="Seed", description="")') == ["Seed"]
        assert texts_in('items = [("A", "First", "What comes first"), (B, "Second", "")]') == [
            "First",
            "What comes first",
            "Second",
        ]
        assert texts_in('class One(bpy.types.Operator):\n    """Do one thing"""\n    bl_label = "One"') == [
            "Do one thing",
            "One",
        ]
        assert texts_in('text = "Hide" if shown else "Show"\nrow.operator("x.y", text=text)') == ["Hide", "Show"]

    def test_identifiers_logs_and_patterns_are_not(self):
        assert texts_in('node.inputs["Base Color"].default_value = bpy.data.objects["Cube"]') == []
        assert texts_in('log.warning("the job was lost")\nFOUND = r"no (\\d+) of|none of them"') == []
        assert texts_in('class One:\n    """Not a tooltip."""') == []

    def test_alternatives_that_the_source_names_are_whole_sentences(self):
        source = 'what = "was deleted" if gone else "is old"\nreport(f"The map {what}. Save it")'
        assert texts_in(source) == ["The map was deleted. Save it", "The map is old. Save it"]
        assert texts_in('KINDS = {A: "is exact", B: "is near"}\nsaid = f"{name} {KINDS[kind]}"') == [
            "{name} is exact",
            "{name} is near",
        ]
        assert texts_in('say("Removed " + f"{len(names)} maps" + (" of all" if all else ""))') == [
            "Removed {names} maps of all",
            "Removed {names} maps",
        ]

    def test_placeholders_are_named_as_what_is_put_in(self):
        assert texts_in('f"{a.name} and {b.name}: {len(files):,} of the {count + 1} files"') == [
            "{name} and {name2}: {files} of the {count} files"
        ]

    def test_labels_that_blender_cannot_translate_are_found(self):
        source = (
            'row.label(text=f"{count} maps")\nrow.label(text=tr(f"{count} maps"))\nrow.label(text=f"{count}: {name}")\n'
        )
        source += 'self.report({"INFO"}, f"Saved {count} maps")\nrow.label(text="Show " + ("one" if one else "all"))'
        assert TextReader(source, is_addon=True).untranslated() == [1, 4]

    def test_they_are_found_behind_names_and_functions(self):
        source = (
            'text = f"{count} maps"\nrow.label(text=text)\n'
            'def said(count):\n    return f"{count} images"\nrow.label(text=said(2) if two else "Two of them")\n'
            'def show(op, what):\n    op.report({"INFO"}, what)\nshow(op, f"{count} lights")\nshow(op, tr(f"{count} lamps"))'
        )
        assert TextReader(source, is_addon=True).untranslated() == [1, 4, 8]

    def test_all_is_found_that_goes_to_blf_or_the_status_bar(self):
        source = (
            'KEYS = ("Escape: end", "C: Cycles")\nworkspace.status_text_set(" | ".join(KEYS))\n'
            'workspace.status_text_set(" | ".join(tr(key) for key in KEYS))\n'
            'class View:\n    def draw(self):\n        self.said = (tr("The left"), self.status())\n        lines(self.said)\n'
            '    def status(self):\n        return ["Cycles renders"]\n'
            "def lines(said):\n    for text, x in ((said[0], 1), (said[1], 2)):\n        blf.draw(0, text)\n"
        )
        assert TextReader(source, is_addon=True).untranslated() == [1, 9]

    def test_what_is_left_out_is_there(self):
        """Nothing in the lists of what is not shown has gone."""
        assert set(NOT_SHOWN) - {item.text for item in written_texts(ROOT)} == set()
        addon = ROOT / "blender_addon"
        assert [
            place for place in SILENT if not (addon / place).is_dir() and not (addon / f"{place}.py").is_file()
        ] == []


def test_the_check_says_what_is_missing(monkeypatch, tmp_path, capsys):
    (tmp_path / "xx.po").write_text("", encoding="utf-8")
    monkeypatch.setattr(update_translations, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["update_translations.py", "--check"])
    assert update_translations.main() == 1
    assert "xx.po: missing: 'Bake Maps'" in capsys.readouterr().out
    assert (tmp_path / "xx.po").read_text(encoding="utf-8") == ""
