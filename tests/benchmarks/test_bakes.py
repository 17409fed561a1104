"""The table of baked looks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import looks
from benchmarks.__main__ import main

INPUTS = [
    {"name": "Base Color", "db": 61.23, "db_all": 58.0, "degrees": None},
    {"name": "Roughness", "db": 55.5, "db_all": 41.0, "degrees": None},
    {"name": "Normal", "db": None, "db_all": None, "degrees": 0.123},
]


def test_a_row_has_the_weakest_input_and_the_renders_of_each_world():
    renders = {"PRINCIPLED": {"studio": None, "courtyard": 51.26}}
    row = {"kinds": ["EXACT", "EXACT"], "inputs": INPUTS, "renders": renders, "seconds": 4.2}
    assert looks.cells("wax", row) == [
        *("wax", "EXACT", "Roughness", 55.5, 41.0, "Normal", 0.12),
        *("equal / 51.3", "-", 4.2),
    ]
    assert looks.cells("toon", {"kinds": ["VIEW"], "inputs": [], "renders": {}, "seconds": 1.0})[2:7] == ["-"] * 5


def test_a_look_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(
        looks, "run_program", lambda _command: 'a warning\n{"plain": {"kinds": ["EXACT"], "equal": []}}\n'
    )
    assert main(["bakes", "--only", "nonsense"]) == 2
    assert "no look nonsense" in capsys.readouterr().err


def test_a_program_that_fails_is_named(monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="it went wrong", stdout="")
    monkeypatch.setattr(looks.subprocess, "run", lambda *_arguments, **_options: failed)
    with pytest.raises(looks.CommandError, match=r"judge\.py failed: it went wrong"):
        looks.run_program(["python", "tests/looks/judge.py", "request.json"])
