"""The built extension: what it holds, for which Blender, and that it is the same each time."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.documentation import ROOT, copy_documentation

import build_addon
from backend.extension import archives, pyzmq_wheels

LICENCES = {"licenses/README.txt"} | {
    f"licenses/pyzmq/LICENSE.{name}" for name in ("md", "zeromq.txt", "libsodium.txt", "tornado.txt")
}


WITHOUT_MKDOCS = importlib.util.find_spec("mkdocs") is None
needs_mkdocs = pytest.mark.skipif(WITHOUT_MKDOCS, reason="MkDocs is not installed")


def manifest_of(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


def names_in(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_addon.build(tmp_path_factory.mktemp("bundled"))


def test_zip_without_wheels(tmp_path: Path) -> None:
    path = build_addon.build(tmp_path, "none")
    assert path.name.endswith("-without-wheels.zip")
    names = names_in(path)
    assert {
        "__init__.py",
        "LICENSE",
        "protocol/client/client.py",
        "protocol/wire.py",
        "references/render_references.py",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("wheels/", "licenses/"))]
    manifest = manifest_of(path)
    assert manifest["id"] == "pbrfit"
    assert manifest["blender_version_min"] == "4.2.23"
    assert not {"blender_version_max", "platforms", "wheels"} & set(manifest)
    assert manifest["copyright"] == ["2026 PBRfit developers"]


def test_every_platform_finds_its_wheel_and_its_licences(bundled: Path) -> None:
    manifest, names = manifest_of(bundled), names_in(bundled)
    assert bundled.name == f"pbrfit-{manifest['version']}.zip"
    assert manifest["blender_version_min"] == "4.2.23"
    assert "blender_version_max" not in manifest
    assert manifest["platforms"] == ["linux-x64", "windows-x64", "macos-arm64", "macos-x64"]
    wheels = [wheel.removeprefix("./") for wheel in manifest["wheels"]]
    assert set(wheels) == {name for name in names if name.startswith("wheels/")}
    for part in ("manylinux", "win_amd64", "macosx"):
        assert len([wheel for wheel in wheels if part in wheel]) == 1, part
    for name in ("PBRfit developers", "PyZMQ Developers", "libzmq", "Frank Denis (libsodium)"):
        assert [holder for holder in manifest["copyright"] if name in holder], name
    # One for both kinds of Mac.
    assert [wheel for wheel in wheels if wheel.endswith("universal2.whl")]
    assert names >= LICENCES
    with zipfile.ZipFile(bundled) as archive:
        assert b"Mozilla Public License" in archive.read("licenses/pyzmq/LICENSE.zeromq.txt")
        assert b"ISC License" in archive.read("licenses/pyzmq/LICENSE.libsodium.txt")


def test_each_wheel_has_a_module_for_every_blenders_python(bundled: Path) -> None:
    """Two compiled modules, of which Python takes the one whose name says that it is for it."""
    with zipfile.ZipFile(bundled) as archive:
        wheels = {name: archive.read(name) for name in archive.namelist() if name.startswith("wheels/")}
    for name, content in wheels.items():
        python, abi = Path(name).stem.split("-")[2:4]
        assert (python, abi) == ("cp311.cp312", "cp311.abi3")
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            files = {path: wheel.read(path) for path in wheel.namelist()}
        modules = {
            path for path in files if path.startswith("zmq/backend/cython/_zmq.") and path.endswith((".so", ".pyd"))
        }
        assert len([path for path in modules if "cpython-311" in path or "cp311" in path]) == 1
        assert len([path for path in modules if path.endswith(("_zmq.abi3.so", "_zmq.pyd"))]) == 1
        assert len(modules) == 2
        (info,) = (path.removesuffix("/WHEEL") for path in files if path.endswith(".dist-info/WHEEL"))
        said = {line.split("-")[0] for line in files[f"{info}/WHEEL"].decode().splitlines() if line.startswith("Tag: ")}
        assert said == {"Tag: cp311", "Tag: cp312"}
        check_record(files, info)


def test_blender_with_either_python_takes_the_wheels(bundled: Path) -> None:
    """By Blender's own code, which takes several wheels' Python versions together for the only ones."""
    tool = build_addon.blender_extension_tool()
    if tool is None:
        pytest.skip("the Blender module bpy is not installed")
    code = "import sys; from blender_ext import python_versions_from_wheels as f; print(sorted(f(sys.argv[1:])))"
    command = [sys.executable, "-c", code, *manifest_of(bundled)["wheels"]]
    found = subprocess.run(command, cwd=tool.parent, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[(3,)]"


def wheel_of(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    info = "pyzmq-1.0.dist-info"
    build_addon.write_zip(folder / name, {f"{info}/WHEEL": b"Tag: x\n", f"{info}/RECORD": b"", **files})
    return folder / name


@pytest.mark.parametrize(
    ("newer", "content", "message"),
    [
        ("pyzmq-1.0-cp312-abi3-win_amd64.whl", b"two", r"differ in zmq/__init__\.py, so one zip cannot serve"),
        ("pyzmq-1.0-cp312-abi3-macosx_11_0_arm64.whl", b"one", r"arm64\.whl differ, so one zip cannot serve"),
        ("pyzmq-1.1-cp312-abi3-win_amd64.whl", b"one", r"1\.1.* differ, so one zip cannot serve"),
    ],
)
def test_wheels_that_differ_are_not_joined(tmp_path: Path, newer: str, content: bytes, message: str) -> None:
    first = wheel_of(tmp_path / "a", "pyzmq-1.0-cp311-cp311-win_amd64.whl", {"zmq/__init__.py": b"one"})
    second = wheel_of(tmp_path / "b", newer, {"zmq/__init__.py": content})
    with pytest.raises(build_addon.BuildError, match=message):
        pyzmq_wheels.join_wheels(first, second, tmp_path / "c")


def test_the_tests_ran_with_the_pyzmq_that_is_bundled() -> None:
    constraints = Path(__file__).parents[1] / "constraints.txt"
    assert f"pyzmq=={pyzmq_wheels.PYZMQ_VERSION}" in constraints.read_text().splitlines()


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the Blender module bpy is not installed")
def test_blender_has_a_tool_that_judges_every_zip() -> None:
    assert build_addon.blender_extension_tool() is not None


def test_one_platform_alone(tmp_path: Path) -> None:
    path = build_addon.build(tmp_path, "bundled", ["windows-x64"])
    assert path.name == f"pbrfit-{manifest_of(path)['version']}-windows-x64.zip"
    manifest = manifest_of(path)
    assert manifest["platforms"] == ["windows-x64"]
    (wheel,) = manifest["wheels"]
    assert wheel.endswith("win_amd64.whl")


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """From two copies of the sources, one of them a day older; with the manual, if there is MkDocs."""
    root = build_addon.source_directory()
    contents = []
    for copy in (tmp_path / "today", tmp_path / "yesterday"):
        for room in build_addon.BACKEND_ROOMS:
            shutil.copytree(tmp_path / "today" / room if contents else root / room, copy / room)
        copy_documentation(copy)
        for name in ("build_addon.py", "pyproject.toml", "LICENSE"):
            if (root / name).is_file():
                shutil.copy(root / name, copy)
        if contents:
            for path in copy.rglob("*"):
                os.utime(path, (time.time() - 86400.0,) * 2)
        command = [sys.executable, str(copy / "build_addon.py"), "--wheels", "none", "--output", str(copy / "dist")]
        built = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        contents.append(Path(built).read_bytes())
        with zipfile.ZipFile(built) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {archives.TIMESTAMP}
            assert ("manual/first-fit.html" in archive.namelist()) != WITHOUT_MKDOCS
    assert contents[0] == contents[1]


@needs_mkdocs
def test_the_manual_has_the_artists_pages_and_all_that_they_show(capfd: pytest.CaptureFixture[str]) -> None:
    files = build_addon.manual_files(ROOT)
    pages = {
        f"manual/{name}.html"
        for name in ("first-fit", "fitting", "baking", "texture-space", "export", "preview", "install")
    }
    assert {name for name in files if name.count("/") == 1} == {*pages, "manual/style.css"}
    pictures = {name for name in files if name.startswith("manual/images/")}
    shown = {f"manual/{name}" for page in pages for name in re.findall('src="([^"]+)"', files[page].decode())}
    assert pictures == shown != set()
    assert "manual/to/first-fit-setting-views.html" in files
    assert all(files.values())
    assert capfd.readouterr() == ("", "")


@needs_mkdocs
def test_a_manual_with_a_link_that_leads_nowhere_is_not_built(tmp_path: Path) -> None:
    copy_documentation(tmp_path)
    with (tmp_path / "docs" / "first-fit.md").open("a", encoding="utf-8") as page:
        page.write("[lost](install.md#lost)")
    with pytest.raises(build_addon.BuildError, match=r"could not make the manual(.|\n)*#lost"):
        build_addon.manual_files(tmp_path)


def test_without_mkdocs_or_the_documentation_there_is_no_manual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_addon.manual_files(tmp_path) == {}
    assert f"the documentation, which is not in {tmp_path}" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "mkdocs", None)
    assert build_addon.manual_files(ROOT) == {}
    assert "without the manual that F1 opens in Blender: there is no MkDocs" in capsys.readouterr().err


def check_record(files: dict[str, bytes], info: str) -> None:
    """A wheel's list of its files names each, with its hash and size."""
    record = {row[0]: row[1:] for row in csv.reader(files[f"{info}/RECORD"].decode().splitlines())}
    assert set(record) == set(files)
    for path, (digest, size) in record.items():
        if path != f"{info}/RECORD":
            expected = base64.urlsafe_b64encode(hashlib.sha256(files[path]).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(files[path])))


def test_backend_wheel_is_whole() -> None:
    name, content = build_addon.backend_wheel(build_addon.source_directory())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    info = name.removesuffix("-py3-none-any.whl") + ".dist-info"
    check_record(files, info)
    assert b"Apache License" in files[f"{info}/licenses/LICENSE"]
    assert b"Requires-Dist: torch" in files[f"{info}/METADATA"]
    assert b"extra ==" not in files[f"{info}/METADATA"]


def test_backend_wheel_holds_what_pip_installs() -> None:
    """Our own wheel and that of the build tool: the same files, if PBRfit is installed from these sources."""
    root = build_addon.source_directory()
    if (root / "pyproject.toml").is_file():
        pytest.skip("PBRfit is not installed but run from its sources")
    installed = {str(path) for path in importlib.metadata.files("pbrfit") or [] if path.suffix in (".py", ".toml")}
    _, content = build_addon.backend_wheel(root)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        ours = {name for name in archive.namelist() if name.endswith((".py", ".toml"))}
    assert ours == installed


def test_backend_wheel_installs_and_runs(tmp_path: Path) -> None:
    """By pip, without the packages it needs: those are this Python's."""
    name, content = build_addon.backend_wheel(build_addon.source_directory())
    (tmp_path / name).write_bytes(content)
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, tmp_path / name]
    subprocess.run([str(part) for part in install], check=True, capture_output=True)
    code = "import backend; print(backend.__file__); from backend.cli.main import main; main(['serve', '--help'])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.splitlines()[0]).is_relative_to(target)
    assert "--address" in answer.stdout


@pytest.mark.parametrize(
    ("wheels", "platforms", "message"),
    [
        ("some", ["linux-x64"], "allowed are bundled and none"),
        ("bundled", ["amiga"], 'no wheels for "amiga"; allowed are linux-x64'),
        ("bundled", [], "allowed are linux-x64"),
    ],
)
def test_wrong_choices(tmp_path: Path, wheels: str, platforms: list[str], message: str) -> None:
    with pytest.raises(build_addon.BuildError, match=message):
        build_addon.build(tmp_path, wheels, platforms)


def test_wheels_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index pip finds none: the message says so, and what to do."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(build_addon.BuildError, match=r"Python 3\.11 on linux-x64.*(\n.*)*Check the network"):
        build_addon.build(tmp_path, "bundled", ["linux-x64"])


def test_a_manifest_that_cannot_name_what_is_bundled() -> None:
    manifest = 'version = "1.0.0"\nblender_version_min = "4.2.23"\n  copyright = ["2026 PBRfit developers"]\n'
    with pytest.raises(build_addon.BuildError, match="no line copyright to build on"):
        build_addon.written_manifest(manifest, ["linux-x64"], [Path("pyzmq.whl")])


ADDRESSES = """
[project.urls]
Homepage = "https://pbrfit.example/"
Issues = "https://pbrfit.example/issues"
"""


def test_the_projects_addresses_are_set_in_one_place(tmp_path: Path) -> None:
    """In pyproject.toml: the manifest, the manual and the documentation have them. Today there are none."""
    root = build_addon.source_directory()
    assert build_addon.project_website(root) == ""
    for room in build_addon.BACKEND_ROOMS:
        shutil.copytree(root / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    copy_documentation(tmp_path)
    for name in ("build_addon.py", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + ADDRESSES)

    def build(*arguments: str) -> tuple[dict, str]:
        command = [sys.executable, str(tmp_path / "build_addon.py"), *arguments, "--output", str(tmp_path / "dist")]
        path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        with zipfile.ZipFile(path) as archive:
            page = "" if WITHOUT_MKDOCS else archive.read("manual/install.html").decode()
        return manifest_of(path), page

    for kind in (["--wheels", "none"], ["--for-store"]):
        manifest, page = build(*kind)
        assert manifest["website"] == "https://pbrfit.example/"
        if not WITHOUT_MKDOCS:
            assert 'href="https://pbrfit.example/"' in page
            assert 'href="https://pbrfit.example/issues"' in page
    manifest, page = build("--wheels", "none", "--website", "https://studio.example/")
    assert manifest["website"] == "https://studio.example/"
    assert WITHOUT_MKDOCS or 'href="https://studio.example/"' in page


def test_a_project_without_addresses_names_none(bundled: Path) -> None:
    assert "website" not in manifest_of(bundled)
    with zipfile.ZipFile(bundled) as archive:
        pages = [archive.read(name) for name in archive.namelist() if name.endswith(".html")]
        assert not any(b"<footer>" in page for page in pages)


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, build_addon.__file__, "--output", str(tmp_path / "new")]
    result = subprocess.run([*command, "--wheels", "none"], capture_output=True, text=True, check=True)
    assert Path(result.stdout.strip()).is_file()
    wrong = subprocess.run([*command, "--platform", "amiga"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "linux-x64" in wrong.stderr


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="the Blender module bpy is not installed")
def test_blender_refuses_a_broken_manifest(tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("blender_manifest.toml", 'schema_version = "1.0.0"\nid = "pbrfit"\n')
        archive.writestr("__init__.py", "")
    with pytest.raises(build_addon.BuildError, match=r"Blender refuses broken\.zip"):
        build_addon.validate(broken)
