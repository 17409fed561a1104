"""The documentation as web pages, built strictly: links, anchors and images lead somewhere, and nothing comes from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.documentation import ROOT, copy_documentation

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed")


def build(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run MkDocs."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", target]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120.0)


def attributes(text: str, *names: str) -> list[str]:
    """The values of some attributes in a page."""
    return re.findall(rf'\b(?:{"|".join(names)})="([^"]*)"', text)


@pytest.fixture(scope="module", params=["mkdocs.yml", "mkdocs-manual.yml"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each page, by its path on the disk."""
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT / request.param, target)
    assert built.returncode == 0, built.stderr
    return {str(path): path.read_text(encoding="utf-8") for path in sorted(target.glob("*.html"))}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what a site is made of, to change."""
    copy_documentation(tmp_path)
    return tmp_path


def test_every_page_is_there(site: dict[str, str]) -> None:
    names = {Path(path).stem for path in site}
    manual = {"first-fit", "install", "fitting", "baking", "texture-space", "export", "preview"}
    assert names in (manual, {path.stem for path in (ROOT / "docs").glob("*.md")})


def test_links_images_and_anchors_lead_somewhere_without_a_network(site: dict[str, str]) -> None:
    wrong = []
    for path, text in site.items():
        for named in attributes(text, "href", "src"):
            if named.startswith("https://"):
                continue
            file, _, anchor = named.partition("#")
            target = Path(path).parent / file if file else Path(path)
            if not target.is_file() or (anchor and f'id="{anchor}"' not in target.read_text(encoding="utf-8")):
                wrong.append((Path(path).name, named))
    assert wrong == []


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(site: dict[str, str]) -> None:
    for path, text in site.items():
        assert attributes(text, "src") == [name for name in attributes(text, "src") if name.startswith("images/")], path
        assert re.findall(r"<(?:link|script|iframe)[^>]*>", text) == ['<link rel="stylesheet" href="style.css">'], path
    style = (Path(next(iter(site))).parent / "style.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_anchors_are_unique(site: dict[str, str]) -> None:
    for path, text in site.items():
        found = attributes(text, "id")
        assert sorted(set(found)) == sorted(found), path


def test_python_markdown_reads_the_pages_as_github_does(site: dict[str, str]) -> None:
    """No list, table, emphasis or link is left as text."""
    for path, text in site.items():
        for paragraph in re.findall(r"<(?:p|li|td)>.*?</(?:p|li|td)>", text, re.DOTALL):
            said = re.sub(r"<code>.*?</code>", "", paragraph, flags=re.DOTALL)
            assert not re.search(r"\n\s*([-*]|\d+\.) |\| ?--|```|\*\*|\]\(", said), f"{path}: {said}"


def test_steps_stay_one_list_with_pictures_between_them(site: dict[str, str]) -> None:
    (text,) = (text for path, text in site.items() if path.endswith("first-fit.html"))
    steps = re.findall(r"<ol>.*?</ol>", text, re.DOTALL)
    assert [(step.count("<li>"), "<img" in step) for step in steps] == [(3, True)]


def test_links_to_files_outside_the_site_are_text_with_the_path(site: dict[str, str]) -> None:
    (text,) = (text for path, text in site.items() if path.endswith("fitting.html"))
    assert "record (<code>benchmarks/results/studio_lights.json</code>)" in text
    is_manual = len(site) == 7
    assert ("performance (<code>docs/performance.md</code>)" in text) == is_manual
    assert ('<a href="performance.html">performance</a>' in text) == (not is_manual)


def test_every_setting_has_an_anchor(site: dict[str, str]) -> None:
    (text,) = (text for path, text in site.items() if path.endswith("first-fit.html"))
    assert {"setting-views", "setting-view-size", "setting-alpha", "then-revert"} <= set(attributes(text, "id"))
    assert '<a id="setting-views"></a>Views</td>' in text


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("[a](../benchmarks/results/lost.json)", "first-fit.md links to ../benchmarks/results/lost.json"),
        ("[a](lost.md)", "first-fit.md links to lost.md"),
        ("[a](install.md#lost)", "no such anchor|does not contain an anchor '#lost'"),
        ("[a](#lost)", "no such anchor"),
        ("![a](images/lost.png)", "images/lost.png"),
    ],
)
def test_what_leads_nowhere_stops_the_build(sources: Path, added: str, message: str) -> None:
    page = sources / "docs" / "first-fit.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{added}\n", encoding="utf-8")
    built = build(sources / "mkdocs.yml", sources / "site")
    assert built.returncode != 0
    assert re.search(message, built.stderr), built.stderr


def test_the_copy_itself_builds(sources: Path) -> None:
    built = build(sources / "mkdocs.yml", sources / "site")
    assert built.returncode == 0, built.stderr
