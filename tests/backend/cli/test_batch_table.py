"""The table of a batch: what it says of a result, and how it is laid out."""

from __future__ import annotations

from pathlib import Path

from backend.cli.batch_table import CHANGED, DONE, FAILED, UP_TO_DATE, Row, sum_text, table_text

SETS = [
    {"material": "Wood PBRfit", "files": ["0/kd.png", "0/orm.png"]},
    {"material": "Iron PBRfit", "files": ["1/kd.png"]},
]


def row_of(report: dict) -> Row:
    row = Row(Path("a.blend"), "Cube", DONE)
    row.take_report({"sets": SETS, **report})
    return row


def test_a_fit_has_its_psnr_and_a_bake_its_verdicts():
    fit = row_of({"heldout_psnr_db": 31.26, "fit": {"fit_heldout_psnr_db": 29.0}})
    assert (fit.maps, fit.materials, fit.quality) == (3, ["Wood PBRfit", "Iron PBRfit"], "31.3 dB")
    assert row_of({"heldout_psnr_db": None, "fit": {"fit_heldout_psnr_db": 29.0}}).quality == "29.0 dB in the fit"
    verdicts = [{"verdict": kind} for kind in ("EXACT", "VIEW_DEPENDENT", "EXACT")]
    assert row_of({"materials": verdicts}).quality == "exact, view dependent"
    assert row_of({}).quality == ""


def test_columns_are_aligned_also_where_letters_are_wide():
    rows = [
        Row(Path("long name.blend"), "机", DONE, seconds=2.0),
        Row(Path("b.blend"), "Cube", CHANGED, why="seed 1, was 0"),
    ]
    head, first, second, *_ = table_text(rows, 3.0).splitlines()
    assert head.index("status") == second.index("changed: seed 1, was 0") == first.index("done") + 1  # 机 takes two
    assert second.index("b.blend") == head.index("file")


def test_a_failure_has_its_cause_and_cure_below():
    text = table_text([Row(Path("a.blend"), "Cube", FAILED, cause="It is black.", cure="Add a lamp.")], 61.0)
    assert text.splitlines()[-4:] == ['"Cube" of a.blend: It is black.', "  Add a lamp.", "", "1 failed (1 min 01 s)."]


def test_the_sum_says_where_there_was_nothing_to_do():
    rows = [Row(Path("a.blend"), "Cube", UP_TO_DATE), Row(Path("a.blend"), "Ball", UP_TO_DATE)]
    assert sum_text(rows, 0.21) == "Nothing to do: all 2 are up to date (0.2 s)."
    assert sum_text(rows[:1], 0.21) == "Nothing to do: it is up to date (0.2 s)."
    assert sum_text([*rows, Row(Path("b.blend"), "Cube", DONE)], 3.0) == "2 up to date, 1 done (3 s)."
