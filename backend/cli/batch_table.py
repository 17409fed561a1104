"""The table at the end of a batch: a line for each object, as text and as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.cli.errors import CommandError
from backend.cli.terminal import duration

DONE, UP_TO_DATE, FAILED, INTERRUPTED, NOT_STARTED = "done", "up to date", "failed", "interrupted", "not started"
NEW, CHANGED, REFUSED, UNKNOWN = "new", "changed", "refused", "to be looked up"
"""What a dry run says that would become of it; REFUSED: it would fail."""
BAD = (FAILED, REFUSED)
WIDEST = 40


@dataclass
class Row:
    """What became of one object. ``out``: the folder of the result; ``maps``: how many; ``quality``: how good, in words;
    ``seconds``: spent on it now; ``why``: it is to be done; ``cause``, ``cure``: of its failure; ``psnr_db``: of a fit."""

    file: Path
    object_name: str
    status: str
    out: Path | None = None
    maps: int | None = None
    quality: str = ""
    psnr_db: float | None = None
    seconds: float = 0.0
    why: str = ""
    cause: str = ""
    cure: str = ""
    materials: list[str] = field(default_factory=list)

    def take_report(self, report: dict[str, Any]) -> None:
        """Take what there is to say of a result from its report.json."""
        sets = report.get("sets") or []
        self.maps = len({name for one in sets for name in one.get("files", ())})
        self.materials = list(dict.fromkeys(one["material"] for one in sets if "material" in one))
        self.psnr_db = report.get("heldout_psnr_db")
        if self.psnr_db is not None:
            self.quality = f"{self.psnr_db:.1f} dB"
            return
        in_the_fit = (report.get("fit") or {}).get("fit_heldout_psnr_db")
        if in_the_fit is not None:  # where no report was wanted
            self.quality = f"{in_the_fit:.1f} dB in the fit"
            return
        kinds = list(dict.fromkeys(str(one.get("verdict", "")).lower() for one in report.get("materials") or ()))
        self.quality = ", ".join(kind.replace("_", " ") for kind in kinds if kind)

    def as_json(self) -> dict[str, Any]:
        """As the JSON table and the log have it; what is not known is left out."""
        values = {
            "file": str(self.file),
            "object": self.object_name,
            "status": self.status,
            "out": None if self.out is None else str(self.out),
            "maps": self.maps,
            "materials": self.materials or None,
            "quality": self.quality or None,
            "psnr_db": self.psnr_db,
            "seconds": round(self.seconds, 2),
            "why": self.why or None,
            "cause": self.cause or None,
            "cure": self.cure or None,
        }
        return {name: value for name, value in values.items() if value is not None}


def table_text(rows: Sequence[Row], seconds: float) -> str:
    """The table, each failure with its cause and cure below it, and the sum."""
    heads = ("object", "file", "maps", "quality", "seconds", "status")
    lines = [
        (
            row.object_name,
            row.file.name,
            "" if row.maps is None else str(row.maps),
            row.quality,
            f"{row.seconds:.1f}" if row.seconds else "",
            f"{row.status}: {row.why}" if row.why and row.status in (NEW, CHANGED) else row.status,
        )
        for row in rows
    ]
    widths = [min(max(map(_columns, column)), WIDEST) for column in zip(heads, *lines, strict=True)]
    texts = ["  ".join(map(_padded, line, widths)).rstrip() for line in (heads, *lines)]
    for row in rows:
        if row.cause:
            texts.append(f'\n"{row.object_name}" of {row.file}: {row.cause}' + (f"\n  {row.cure}" if row.cure else ""))
    return "\n".join([*texts, "", sum_text(rows, seconds)])


def sum_text(rows: Sequence[Row], seconds: float) -> str:
    """How many rows there are of each status, as a sentence."""
    counts = Counter(row.status for row in rows)
    if not rows:
        return "Nothing to do: no object is in this part."
    if set(counts) == {UP_TO_DATE}:
        number = counts[UP_TO_DATE]
        return f"Nothing to do: {'it is' if number == 1 else f'all {number} are'} up to date ({seconds:.1f} s)."
    return ", ".join(f"{count} {status}" for status, count in counts.items()) + f" ({duration(seconds)})."


def write_table(path: Path, command: str, rows: Sequence[Row], exit_status: int, seconds: float) -> None:
    """Write the table as JSON. Raises CommandError."""
    content = {
        "command": command,
        "exit": exit_status,
        "seconds": round(seconds, 2),
        "counts": dict(Counter(row.status for row in rows)),
        "rows": [row.as_json() for row in rows],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"The table {path} cannot be written: {error.strerror}.", "Give --table another file."
        ) from error


def _columns(text: str) -> int:
    """How wide a text is in a terminal: letters of East Asia take two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))
