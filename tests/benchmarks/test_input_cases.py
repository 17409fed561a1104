"""The table of input cases: what its cells say, and where it goes."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.input_cases import CASES, cell

FITTED = {
    "kind": "A",
    "kd_mean": 49.44,
    "kd_p95": 131.0,
    "outline_iou": 0.9847,
    "held_out_psnr_db": 16.61,
    "warnings": [],
}
REFUSED = {"kind": "A", "refused": 'The image "a|b" has no file. Find it.', "seconds": 3.0}
MARKS = "<!-- table of benchmarks/input_cases.py -->\nold\n<!-- end of the table -->\n"


def record(path, **rows):
    values = {"cases": rows, "machine": {"device": "a CPU"}, "measured": {"blender": "4.5"}, "date": "2026-01-01"}
    path.write_text(json.dumps(values))
    return str(path)


def test_a_cell_says_how_far_off_a_fit_is_or_why_it_was_refused():
    assert cell(FITTED) == "kd off by 49.4 (95%: 131); outline 0.985; reported 16.6 dB"
    assert cell(FITTED | {"warnings": ["Fog is left out."]}).endswith("; warns: Fog is left out.")
    assert cell(REFUSED) == 'refused: The image "a/b" has no file. Find it.'
    assert cell(None) == "not measured"


def test_the_table_of_two_records_goes_between_the_marks_of_a_document(tmp_path):
    before, after = record(tmp_path / "before.json", simplify=REFUSED), record(tmp_path / "after.json", simplify=FITTED)
    document = tmp_path / "cases.md"
    document.write_text("head\n" + MARKS + "tail\n")
    assert main(["input_cases", "--compare", before, after, "--into", str(document)]) == 0
    text = document.read_text()
    assert "old" not in text
    assert text.startswith("head\n")
    assert text.endswith("tail\n")
    assert f"| simplify | A | {cell(REFUSED)} | {cell(FITTED)} |" in text
    assert text.count("not measured") == 2 * (len(CASES) - 1)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [(["--only", "nonsense"], "no case nonsense"), (["--json", "/nowhere/cases.json"], "cannot be written")],
)
def test_errors_name_their_cause(capsys, arguments, cause):
    assert main(["input_cases", *arguments]) == 2
    assert cause in capsys.readouterr().err


def test_a_document_without_marks_is_refused(tmp_path, capsys):
    path, document = record(tmp_path / "one.json"), tmp_path / "cases.md"
    document.write_text("nothing")
    assert main(["input_cases", "--compare", path, path, "--into", str(document)]) == 2
    assert "no marks" in capsys.readouterr().err
    assert document.read_text() == "nothing"
