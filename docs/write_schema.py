"""Write the tables of a preview's scene into docs/protocol.md, from the classes that define it.

    python docs/write_schema.py

tests/backend/protocol/test_schema.py fails where the document is not what this writes.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "protocol.md"
BEGIN = "<!-- Made by docs/write_schema.py from backend/protocol/scene_description.py: edit there. -->"
END = "<!-- End of what docs/write_schema.py makes. -->"


def classes_of(root: type) -> list[type]:
    """The dataclasses that a dataclass is made of, itself first, each once."""
    found = [root]
    for known in found:
        for hint in typing.get_type_hints(known).values():
            found += [part for part in parts_of(hint) if dataclasses.is_dataclass(part) and part not in found]
    return found


def parts_of(hint: Any) -> list[Any]:
    """The types in a type hint."""
    arguments = [part for part in typing.get_args(hint) if part is not Ellipsis]
    return [inner for part in arguments for inner in parts_of(part)] if arguments else [hint]


def json_type(hint: Any) -> str:
    """What a field is in JSON, in words."""
    if dataclasses.is_dataclass(hint):
        return f"[{title(hint)}](#{title(hint).lower()})"
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(json_type(part) for part in typing.get_args(hint))
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"list of {json_type(arguments[0])}"
        return f"list of {len(arguments)} {json_type(arguments[0])}s"
    return {str: "text", int: "whole number", float: "number", type(None): "null"}[hint]


def title(known: type) -> str:
    """The name of a class in the document."""
    return known.__name__.removesuffix("Description")


def default_of(item: dataclasses.Field[Any]) -> str:
    """What an absent key means; empty where it must be there."""
    value = item.default
    if value is dataclasses.MISSING:
        return ""
    if value is None:
        return "null"
    if dataclasses.is_dataclass(value):
        return "all defaults"
    return str(list(value) if isinstance(value, tuple) else value)


def tables(root: type) -> str:
    """Markdown: a table for each class, the root's first."""
    lines = []
    for known in classes_of(root):
        hints = typing.get_type_hints(known, include_extras=True)
        about = (known.__doc__ or "").strip().split("\n\n")[0]
        lines += [
            f"#### {title(known)}",
            "",
            about,
            "",
            "| key | JSON | meaning | where absent |",
            "| --- | --- | --- | --- |",
        ]
        for item in dataclasses.fields(known):
            hint, meaning = typing.get_args(hints[item.name])
            lines.append(f"| `{item.name}` | {json_type(hint)} | {meaning} | {default_of(item)} |")
        lines.append("")
    return "\n".join(lines)


def with_tables(document: str, root: type) -> str:
    """The document with its tables made again."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(root)}\n{END}{after}"


def main() -> int:
    """The command line."""
    sys.path.insert(0, str(ROOT))
    from backend.protocol.scene_description import SceneDescription  # from this checkout, whatever is installed

    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_tables(text, SceneDescription), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
