"""Write the folders and the drawing of their imports into docs/architecture.md, from the list that the tests check.

    python docs/draw_architecture.py

The list is in tests/support/arrows.py, what a folder is for is the docstring of its `__init__.py`.
tests/test_documents.py fails where the document is not what this writes.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- Made by docs/draw_architecture.py from tests/support/arrows.py: edit there. -->"
END = "<!-- End of what docs/draw_architecture.py makes. -->"


def about(folder: str) -> str:
    """The first paragraph of the docstring of a folder's `__init__.py`, or of a file."""
    path = ROOT / folder / "__init__.py" if (ROOT / folder).is_dir() else (ROOT / folder).with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("``", "`")


def table(arrows: Mapping[str, set[str]]) -> str:
    """Markdown: each folder and what it is for."""
    rows = [f"| `{folder}` | {about(folder)} |" for folder in arrows]
    return "\n".join(["| folder | what it holds |", "| --- | --- |", *rows])


def with_drawing(document: str, arrows: Mapping[str, set[str]], drawing: str) -> str:
    """The document with its table and its drawing made again."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table(arrows)}\n\n{drawing}\n\n{END}{after}"


def main() -> int:
    """The command line."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.arrows import ARROWS, drawing  # the tests are not installed

    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_drawing(text, ARROWS, drawing(ARROWS)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
