"""Set up the backend: real environments and real runs of pip, with packages that are on this machine already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.blender import drawn_panel
from support.package_index import fetch_pip, serving, write_wheel

bpy = pytest.importorskip("bpy")
# By far most of the time goes to pip and to the backend, which are not Blender's.
pytestmark = pytest.mark.any_blender

TIMEOUT_S = 400.0
CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"


@pytest.fixture
def online():
    """Blender may go online."""
    system = bpy.context.preferences.system
    system.use_online_access = True
    yield
    system.use_online_access = False


@pytest.fixture
def setup(addon, online):
    """The setup state, with no environment before and after."""

    def remove():
        if bpy.ops.pbrfit.remove_backend.poll():
            bpy.ops.pbrfit.remove_backend()

    remove()
    addon.preferences.base_python = backend_python()
    yield addon.setup.state
    addon.setup.state.close()
    remove()
    assert not addon.setup.backend_environment.environments_folder().exists()


@pytest.fixture
def packages(monkeypatch, tmp_path) -> Path:
    """A folder for an index with pip and a torch of 6 MB, which borrows the packages of the tests' backend."""
    folder = tmp_path / "packages"
    folder.mkdir()
    fetch_pip(folder)
    borrowed = {"borrowed.pth": packages_of_the_backend().encode(), "torch.ballast": os.urandom(6_000_000)}
    write_wheel(folder, "torch", "2.99", borrowed)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    return folder


@pytest.fixture
def nothing_to_download(monkeypatch, tmp_path):
    """Let pip find no packages except those that are installed."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


def backend_python() -> str:
    return os.environ.get("PBRFIT_BACKEND_PYTHON") or sys.executable


def run_to_end(setup) -> list:
    """Poll as the timer does; return every status that was shown."""
    deadline = time.monotonic() + TIMEOUT_S
    seen = [setup.setup_status()]
    while setup.poll():
        assert time.monotonic() < deadline, setup.setup_status()
        if setup.setup_status() != seen[-1]:
            seen.append(setup.setup_status())
        time.sleep(0.02)
    return [*seen, setup.setup_status()]


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes that contain the path of a folder."""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(folder) in line]


def packages_of_the_backend() -> str:
    code = "import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])"
    return subprocess.run([backend_python(), "-c", code], capture_output=True, text=True, check=True).stdout


def drawn(addon) -> drawn_panel.Drawn:
    """What the preferences show of the setup."""
    shown = drawn_panel.Drawn()
    section = addon.settings.setup_section.BackendSection
    section.draw_backend(addon.preferences, drawn_panel.Context(), drawn_panel.Layout(shown))
    return shown


def make_environment(addon, build: str) -> Path:
    """Make an environment as a setup leaves it, with the packages (and pip) of the tests' backend; return its Python."""
    folder = addon.setup.backend_environment.environments_folder()
    folder.mkdir(parents=True)
    subprocess.run([backend_python(), "-m", "venv", "--without-pip", str(folder / "a")], check=True)
    (site,) = (folder / "a").glob("[Ll]ib/**/site-packages")
    (site / "borrowed.pth").write_text(packages_of_the_backend())
    environment = addon.setup.backend_environment.BackendEnvironment(folder, "a", "0.0.1", build, backend_python())
    addon.setup.backend_environment.keep(environment)
    assert addon.setup.backend_environment.environment_python() == environment.python
    return environment.python


def test_offline_it_is_refused_and_a_button_allows_to_go_online(addon) -> None:
    assert not bpy.app.online_access
    assert not bpy.ops.pbrfit.setup_backend.poll()
    assert addon.setup.state.setup_status() is None
    (button,) = {"extensions.userpref_allow_online"} & set(drawn(addon).names("operator"))
    try:
        assert bpy.ops.extensions.userpref_allow_online() == {"FINISHED"}
        assert bpy.app.online_access
        assert bpy.ops.pbrfit.setup_backend.poll()
        assert button not in drawn(addon).names("operator")
    finally:
        bpy.context.preferences.system.use_online_access = False


def test_from_nothing_with_a_progress_that_follows_the_bytes(addon, setup, packages, monkeypatch) -> None:
    addon.preferences.torch_choice = "CONFIGURED"
    with serving(packages, bytes_per_second=2e6) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        bpy.ops.pbrfit.setup_backend()
        assert any(line.startswith("0:00 elapsed, 0 of about ") for line in drawn(addon).lines)
        seen = run_to_end(setup)
    status = seen[-1]
    assert status.state == "done", (status, setup.setup_log().read_text())
    counted = [item for item in seen if item.message.startswith("Downloading torch: ")]
    megabytes = [round(item.megabytes, 1) for item in counted]
    assert megabytes == sorted(megabytes)
    assert len(set(megabytes)) >= 5
    assert len({item.fraction for item in counted}) >= 5
    # After pip's own 2 MB or so.
    assert 7.0 < status.megabytes < 9.0
    took = setup.setup_seconds()
    assert 3.0 < took < TIMEOUT_S
    assert setup.setup_seconds() == took
    lines = " ".join(drawn(addon).lines)
    assert "The backend is set up. In the 3D viewport press N, and open the tab PBRfit" in lines
    assert "pbrfit.show_setup_log" in drawn(addon).names("operator")
    log = setup.setup_log().read_text()
    assert "Downloading" in log
    assert "Progress " not in log


def test_another_index_is_proposed_where_pytorchs_own_is_out_of_reach(addon, setup, packages, monkeypatch) -> None:
    """Nobody listens at its address; the index that pip is configured for has all, one click away."""
    monkeypatch.setattr(addon.setup.torch_builds, "INDEX", "http://127.0.0.1:9/whl")
    addon.preferences.torch_choice = "CPU"
    with serving(packages) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        bpy.ops.pbrfit.setup_backend()
        status = run_to_end(setup)[-1]
        assert (status.state, status.other_index_may_do) == ("failed", True)
        assert status.error.cause == "The package index was not reached."
        lines = drawn(addon).lines
        assert {"Try Again", "Try As pip Finds It"} <= set(lines)
        assert drawn(addon).names("operator").count("pbrfit.setup_backend") == 2  # and no third way
        assert "Only download.pytorch.org was asked" in " ".join(lines)
        assert bpy.ops.pbrfit.setup_backend(torch="CONFIGURED") == {"FINISHED"}
        assert addon.preferences.torch_choice == "CONFIGURED"
        status = run_to_end(setup)[-1]
    assert status.state == "done", (status, setup.setup_log().read_text())
    assert "Try As pip Finds It" not in drawn(addon).lines


def test_pips_own_index_is_not_proposed_where_it_has_failed(addon, setup, packages, monkeypatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    addon.preferences.torch_choice = "CONFIGURED"
    bpy.ops.pbrfit.setup_backend()
    status = run_to_end(setup)[-1]
    assert (status.state, status.other_index_may_do) == ("failed", False)
    assert "Try Again" in drawn(addon).lines
    assert "Try As pip Finds It" not in drawn(addon).lines


def test_an_update_that_is_cancelled_is_not_used_and_goes_on_next_time(addon, setup, nothing_to_download) -> None:
    python = make_environment(addon, "CPU")
    addon.preferences.torch_choice, addon.preferences.backend_python = "CPU", ""
    bpy.ops.pbrfit.setup_backend()
    deadline = time.monotonic() + TIMEOUT_S
    while "Asking" not in setup.setup_status().message:
        assert setup.setting_up(), setup.setup_status()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    bpy.ops.pbrfit.cancel_setup()
    assert run_to_end(setup)[-1].state == "cancelled"
    assert addon.setup.backend_environment.environment_python() is None
    assert addon.settings.setup_section.environment_found() == ""
    bpy.ops.pbrfit.setup_backend()
    status = run_to_end(setup)[-1]
    assert status.state == "done", (status, setup.setup_log().read_text())
    assert addon.setup.backend_environment.environment_python() == python
    assert "-m venv" not in setup.setup_log().read_text()


def test_an_update_installs_this_add_ons_backend(addon, setup, nothing_to_download) -> None:
    """What is installed stays, and the wheel of PBRfit that the add-on contains is added."""
    python = make_environment(addon, addon.setup.torch_builds.torch_build("CPU").name)
    addon.preferences.torch_choice = "CPU"
    assert bpy.ops.pbrfit.setup_backend() == {"FINISHED"}
    assert not bpy.ops.pbrfit.setup_backend.poll()
    assert not bpy.ops.pbrfit.check_backend.poll()
    seen = run_to_end(setup)
    status = seen[-1]
    assert status.state == "done", (status, setup.setup_log().read_text())
    assert status.environment.version == setup.addon_version()
    fractions = [item.fraction for item in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len({item.message for item in seen}) >= 4
    code = "import backend, sys; print(backend.__file__); print(sys.prefix)"
    told = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0].startswith(told[1]), "the backend is not the environment's own"

    # It is what the preferences lead to now, and it works.
    addon.preferences.backend_python = ""
    assert setup.local_command(addon.preferences) == [str(python), "-m", "backend"]
    assert setup.backend_found(addon.preferences) == "The environment that was set up here"
    assert (
        addon.settings.setup_section.environment_found()
        == f"Set up: PBRfit {setup.addon_version()} with PyTorch for the processor, on " + (status.environment.base)
    )
    bpy.ops.pbrfit.check_backend()
    run_to_end(setup)
    assert setup.report().works, setup.report()


def test_a_package_that_is_nowhere(addon, setup, nothing_to_download) -> None:
    addon.preferences.torch_choice = "CONFIGURED"
    bpy.ops.pbrfit.setup_backend()
    folder = addon.setup.backend_environment.environments_folder()
    assert str(folder).startswith(bpy.utils.resource_path("USER"))
    status = run_to_end(setup)[-1]
    assert status.state == "failed"
    assert status.error.cause == "The package index has no torch for this Python on this machine."
    assert "Choose another Python" in status.error.cure
    log = setup.setup_log().read_text()
    assert "-m venv" in log
    assert "No matching distribution found for torch" in log
    assert addon.setup.backend_environment.environment_python() is None
    assert [path.name for path in folder.iterdir()] == ["setup.log"]


def test_a_failure_leaves_the_environment_that_was_there(addon, setup, nothing_to_download) -> None:
    python = make_environment(addon, "CPU")
    addon.preferences.torch_choice = "CONFIGURED"
    bpy.ops.pbrfit.setup_backend()
    assert run_to_end(setup)[-1].state == "failed"
    assert addon.setup.backend_environment.environment_python() == python
    assert {path.name for path in addon.setup.backend_environment.environments_folder().iterdir()} == {
        "a",
        "ready.json",
        "setup.log",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="lists processes with ps")
@pytest.mark.parametrize("moment", ["Making an environment", "Asking the package index for torch"])
def test_cancel_ends_everything_it_started(addon, setup, monkeypatch, moment) -> None:
    # An address where nobody answers: pip tries it for some time, and then again.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://10.255.255.1/simple")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "2")
    addon.preferences.torch_choice = "CONFIGURED"
    bpy.ops.pbrfit.setup_backend()
    folder = addon.setup.backend_environment.environments_folder()
    deadline = time.monotonic() + TIMEOUT_S
    while setup.setup_status().message != moment:
        assert setup.setting_up(), (setup.setup_status(), setup.setup_log().read_text())
        assert time.monotonic() < deadline, setup.setup_status()
        time.sleep(0.005)
    while not processes_of(folder):
        assert setup.setting_up(), setup.setup_status()
    began = time.monotonic()
    assert bpy.ops.pbrfit.cancel_setup() == {"FINISHED"}
    run_to_end(setup)
    assert time.monotonic() - began < 5.0
    assert setup.setup_status().state == "cancelled"
    assert processes_of(folder) == []
    assert [path.name for path in folder.iterdir()] == ["setup.log"]


@pytest.mark.skipif(sys.platform == "win32", reason="lists processes with ps")
def test_cancel_in_the_middle_of_a_download(addon, setup, packages, monkeypatch) -> None:
    addon.preferences.torch_choice = "CONFIGURED"
    with serving(packages, bytes_per_second=1e6) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        bpy.ops.pbrfit.setup_backend()
        folder = addon.setup.backend_environment.environments_folder()
        deadline = time.monotonic() + TIMEOUT_S
        while not setup.setup_status().message.startswith("Downloading torch: 2"):
            assert setup.setting_up(), (setup.setup_status(), setup.setup_log().read_text())
            assert time.monotonic() < deadline, setup.setup_status()
            time.sleep(0.005)
        bpy.ops.pbrfit.cancel_setup()
        run_to_end(setup)
    assert setup.setup_status().state == "cancelled"
    assert processes_of(folder) == []
    assert [path.name for path in folder.iterdir()] == ["setup.log"]


def test_disabling_the_add_on_ends_a_setup(addon, setup, nothing_to_download) -> None:
    folder = addon.setup.backend_environment.environments_folder()
    bpy.ops.pbrfit.setup_backend()
    bpy.ops.preferences.addon_disable(module=addon.name)
    assert setup.setup_status() is None
    assert processes_of(folder) == []
    bpy.ops.preferences.addon_enable(module=addon.name)


def test_a_folder_that_cannot_be_written_to(addon, setup) -> None:
    """A folder is in the place of the log."""
    folder = addon.setup.backend_environment.environments_folder()
    (folder / addon.setup.install.LOG).mkdir(parents=True)
    bpy.ops.pbrfit.setup_backend()
    status = run_to_end(setup)[-1]
    assert status.state == "failed"
    assert status.error.cause == f"The environment in {folder} could not be made: Is a directory."


def test_a_python_that_does_not_do(addon, setup) -> None:
    addon.preferences.base_python = "/no/such/python"
    bpy.ops.pbrfit.setup_backend()
    status = run_to_end(setup)[-1]
    assert status.state == "failed"
    assert status.error.cause == 'The Python "/no/such/python" cannot be run: No such file or directory.'


def test_a_disk_without_room(addon, setup) -> None:
    huge = addon.setup.torch_builds.TorchBuild("CPU", "", 10**9, 10**10)
    setup.begin_setup(addon.setup.install.start_setup(huge, ""))
    status = run_to_end(setup)[-1]
    assert status.state == "failed"
    assert "the setup needs 11000000.0 GB, of which 10000000.0 GB stay" in status.error.cause


def test_an_environment_whose_python_has_gone_does_not_count(addon, setup) -> None:
    python = make_environment(addon, "CPU")
    assert addon.settings.setup_section.environment_found().startswith("Set up: PBRfit 0.0.1 ")
    python.unlink()
    assert addon.setup.backend_environment.environment_python() is None
    assert addon.settings.setup_section.environment_found() == ""


@pytest.mark.skipif(
    os.environ.get("PBRFIT_TEST_SETUP") != "1",
    reason="downloads 300 MB and takes 2 minutes: PBRFIT_TEST_SETUP=1 runs it",
)
def test_the_whole_way(addon, setup, monkeypatch) -> None:
    """From nothing to a backend that works, with every package from the place where pip finds it."""
    monkeypatch.setenv("PIP_CONSTRAINT", str(CONSTRAINTS))
    monkeypatch.setenv("PIP_RETRIES", "0")
    addon.preferences.torch_choice = "CPU"
    bpy.ops.pbrfit.setup_backend()
    status = run_to_end(setup)[-1]
    assert status.state == "done", (status, setup.setup_log().read_text())
    record = json.loads((addon.setup.backend_environment.environments_folder() / "ready.json").read_text())
    assert record["slot"] == "a"
    addon.preferences.backend_python = ""
    bpy.ops.pbrfit.check_backend()
    run_to_end(setup)
    report = setup.report()
    assert report.works, report
    assert any(line.text.startswith("torch: ") for line in report.lines)
