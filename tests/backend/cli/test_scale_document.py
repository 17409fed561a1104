"""docs/scale.md: its commands and options are understood, and its files are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from backend.cli.main import argument_parser

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "scale.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"(?:^    |`)pbrfit ((?:farm|optimize|bake|serve) [^`#\n]*)", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", [*COMMANDS, "optimize --jobs /assets/jobs.toml --part 3/10"])
def test_a_command_is_understood(command):
    argument_parser().parse_args(shlex.split(command))


def test_the_options_of_the_farm_are_described():
    assert len(COMMANDS) >= 4
    table = TEXT.partition("| option | effect |")[2].partition("\n\n")[0]
    farm = argument_parser()._subparsers._group_actions[0].choices["farm"]
    options = {name for action in farm._actions for name in action.option_strings if name.startswith("--")}
    assert set(re.findall(r"`(--[a-z-]+)", table)) == options - {"--help"}


def test_the_parameters_of_the_template_are_described():
    template = yaml.safe_load((DOCS / "farm" / "pbrfit-openjd.yaml").read_text(encoding="utf-8"))
    table = TEXT.partition("| parameter | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [one["name"] for one in template["parameterDefinitions"]]
