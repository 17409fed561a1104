"""What a process of a team does that does not lead: the leader's calls, one after another (`backend.fit.team`)."""

from __future__ import annotations

from backend.fit.table_fit import TableFit
from backend.fit.team import Team

# Methods of `TableFit` that its leader calls in all processes.
CALLS = (
    "collect", "end", "measure", "read_texels", "rebalance", "set_resolution", "step", "take_held_out", "take_over",
)  # fmt: skip


def follow(team: Team) -> None:
    """Do what the leader does until it is gone. Raises ValueError for a call that is none."""
    fit: TableFit | None = None
    while (heard := team.hear()) is not None:
        call, arguments = heard
        if call == "begin":
            fit = None  # its memory goes before the next one takes as much
            fit = TableFit(**arguments[0], team=team)
        elif call == "rest":
            fit = None
        elif call in CALLS and fit is not None:
            getattr(fit, call)(*arguments)
        else:
            raise ValueError(f"the leader's call {call!r} is none of a fit")
        del heard, arguments
