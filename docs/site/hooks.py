"""What MkDocs does with our pages beyond Markdown: links that leave the site, steps, and an anchor for each setting."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from markdown.extensions.toc import slugify

# Tables whose rows have anchors, by the heading of their first column: F1 in Blender opens the row.
TABLES_WITH_ANCHORS = {"setting", "then"}

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_STEP = re.compile(r"^ {3}(?=\S)", re.MULTILINE)
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_FIRST_CELL = re.compile(r"(<tr>\s*<td>)(.*?)(?=</td>)")
_log = logging.getLogger("mkdocs.hooks.pbrfit")


def on_config(config: Any) -> None:
    """Give the pages the project's addresses, if it has any: `[project.urls]` in pyproject.toml, or PBRFIT_WEBSITE."""
    project_file = Path(config.docs_dir).resolve().parent / "pyproject.toml"
    text = project_file.read_text(encoding="utf-8") if project_file.is_file() else ""
    addresses = tomllib.loads(text).get("project", {}).get("urls", {})
    config.extra["website"] = os.environ.get("PBRFIT_WEBSITE") or addresses.get("Homepage", "")
    config.extra["issues"] = addresses.get("Issues", "")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make of links that leave the site text with the path in code style, and indent steps as Python-Markdown wants it."""
    folder = posixpath.dirname(page.file.src_uri)

    def plain(link: re.Match[str]) -> str:
        text, target = link[1], posixpath.normpath(posixpath.join(folder, link[2]))
        found = files.get_file_from_path(target)
        if found is not None and not found.inclusion.is_excluded():
            return link[0]
        path = (Path(config.docs_dir) / target).resolve()
        root = Path(config.docs_dir).resolve().parent
        if not path.is_relative_to(root) or not path.exists():
            _log.warning("%s links to %s, which is not there", page.file.src_uri, link[2])
            return text
        name = path.relative_to(root).as_posix()
        return f"`{name}`" if text.strip("`") in {name, path.name} else f"{text} (`{name}`)"

    # What belongs to a step is indented by three spaces in our pages, as GitHub reads it.
    return _STEP.sub("    ", _LINK.sub(plain, markdown))


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Give the rows of settings anchors, such as setting-view-size; a row of several names has one for each."""
    return _TABLE.sub(_with_anchors, html)


def _with_anchors(table: re.Match[str]) -> str:
    heading = re.search(r"<th>(.*?)</th>", table[0])
    if heading is None or heading[1] not in TABLES_WITH_ANCHORS:
        return table[0]

    def anchored(cell: re.Match[str]) -> str:
        names = re.split(r",| / ", re.sub(r"<[^>]+>|\([^)]*\)", "", cell[2]))
        anchors = "".join(f'<a id="{heading[1]}-{slugify(name, "-")}"></a>' for name in names)
        return f"{cell[1]}{anchors}{cell[2]}"

    return _FIRST_CELL.sub(anchored, table[0])


def on_post_build(config: Any) -> None:
    """Write a page for each anchor that leads to it: Windows and macOS open a file's address without the anchor after #."""
    if not config.extra.get("page_for_each_anchor"):
        return
    folder = Path(config.site_dir) / "to"
    folder.mkdir()
    for page in sorted(folder.parent.glob("*.html")):
        for anchor in re.findall(r'<(?:h\d|a) id="([^"]+)"', page.read_text(encoding="utf-8")):
            address = f"../{page.name}#{anchor}"
            text = (
                f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">PBRfit</a>\n'
            )
            (folder / f"{page.stem}-{anchor}.html").write_text(text, encoding="utf-8", newline="\n")
