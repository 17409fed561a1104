"""``pbrfit doctor``: what is installed, what device will be used, and what to do about what is missing."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import backend

OK, NOTE, MISSING = "ok", "note", "MISSING"
OLDEST_PYTHON = (3, 11)
OLDEST_BLENDER = (4, 2, 23)
START_SECONDS = 120.0

LIBRARY_PACKAGES = {
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}
"""The Debian and Ubuntu package of each system library that the module bpy of some Blender is linked against."""

BLENDER_PROBE = """
import os, bpy, numpy, zmq
print("PBRFIT", bpy.app.version_string, flush=True)
import _cycles  # after the line above: some drivers end a process that looks for their devices
for kind in ("CUDA", "HIP", "METAL", "ONEAPI", "OPTIX", "CPU"):
    for device in _cycles.available_devices(kind):
        if device[1] == kind:
            print("CYCLES", f"{device[0]} ({kind})", flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Finding:
    """One line of the answer. level: ok, note (PBRfit works without it) or MISSING; cure: what to do, or empty."""

    level: str
    subject: str
    state: str
    cure: str = ""

    @property
    def missing(self) -> bool:
        """Whether PBRfit cannot work without it."""
        return self.level == MISSING

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.subject:<22} {self.state}"
        return line + "".join(f"\n{'':<8} {'':<22} -> {part}" for part in self.cure.splitlines())


def examine(blender: str | None = None, backend_only: bool = False) -> list[Finding]:
    """Check everything.

    ``blender``: a Blender program to check instead of the module bpy. ``backend_only``: check nothing of Blender, since the
    backend of a running Blender does not need another one.
    """
    findings = [_python(), _pbrfit(), *(_package(*package) for package in PACKAGES)]
    findings += [_device(), *_triton()]
    if not backend_only:
        findings.append(_nvdiffrast())
        findings += [_blender_program(blender)] if blender is not None else _blender_module()
    return findings


def as_json(findings: list[Finding]) -> str:
    """The answer for programs: an object of ``version`` (of PBRfit), ``python`` (its path), ``works`` and ``findings``,
    each with level, subject, state and cure.
    """
    answer = {
        "version": pbrfit_version(),
        "python": sys.executable,
        "works": not any(finding.missing for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(answer, indent=1)


def pbrfit_version() -> str:
    """The installed version of PBRfit; empty where it runs from its sources without being installed."""
    try:
        return importlib.metadata.version("pbrfit")
    except importlib.metadata.PackageNotFoundError:
        return ""


PACKAGES = (
    ("torch", "torch", "Nothing can be fitted without it."),
    ("numpy", "numpy", "Nothing can be fitted without it."),
    ("pyzmq", "zmq", "Blender reaches the backend by it."),
    ("OpenImageIO", "OpenImageIO", "Maps are written with it."),
    ("imageio", "imageio", "Some kinds of textures are read with it."),
    ("pillow", "PIL", "The report's picture is drawn with it."),
)
"""The packages that are needed: as pip and as Python call them, and what for."""


def _python() -> Finding:
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding(MISSING, "Python", platform.python_version(), "Use Python 3.11 or newer.")
    return Finding(OK, "Python", f"{platform.python_version()} ({sys.executable})")


def _pbrfit() -> Finding:
    version = pbrfit_version()
    return Finding(OK, "PBRfit", version or f"runs from its sources in {_sources()}")


def _sources() -> Path:
    """The folder that holds the package `backend`."""
    return Path(next(iter(backend.__path__))).parent


def _package(name: str, module: str, use: str) -> Finding:
    """A package that is needed. It is imported in a process of its own, so that a crash does not end this one."""
    cure = f"pip install {name}"
    if importlib.util.find_spec(module) is None:
        return Finding(MISSING, name, f"not installed. {use}", cure)
    result = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return Finding(
            MISSING, name, f"cannot be imported: {_last_line(result.stderr)}", _import_cure(name, result.stderr)
        )
    return Finding(OK, name, _version_of(module, name))


def _version_of(module: str, name: str) -> str:
    # Another distribution (pillow-simd, triton-windows) may provide the module.
    provider = next(iter(importlib.metadata.packages_distributions().get(module, [name])))
    return importlib.metadata.version(provider)


def _device() -> Finding:
    try:
        import torch  # late: it may be missing, which is what the doctor is to find
    except (ImportError, OSError):
        return Finding(NOTE, "Device", "unknown without torch")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding(OK, "Device", f"cuda:0, {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    state = f"cpu, {torch.get_num_threads()} threads"
    if shutil.which("nvidia-smi") is None:
        return Finding(OK, "Device", state)
    if torch.version.cuda is None:
        cure = "This torch is a CPU build. Install PBRfit without constraints.txt, or torch from pytorch.org."
    else:
        cure = f"torch is built for CUDA {torch.version.cuda}; update the NVIDIA driver."
    return Finding(NOTE, "Device", f"{state}, although there is an NVIDIA GPU", cure)


def _triton() -> list[Finding]:
    """Whether the fast kernels run; nothing where there is no GPU to run them."""
    try:
        import torch  # late: it may be missing, which is what the doctor is to find
    except (ImportError, OSError):
        return []
    if not torch.cuda.is_available():
        return []
    if importlib.util.find_spec("triton") is None:
        name = "triton-windows" if sys.platform == "win32" else "triton"
        state = "not installed: PyTorch's own kernels are used, several times slower"
        return [Finding(NOTE, "Triton", state, f"pip install {name}")]
    from render.core.kernels import has_triton  # late: it imports torch

    version = _version_of("triton", "triton")
    if has_triton(torch.device("cuda:0")):
        return [Finding(OK, "Triton", version)]
    cure = "Install a C compiler (gcc) and the headers of this Python; `pbrfit serve` logs what Triton says."
    return [
        Finding(NOTE, "Triton", f"{version} does not run: PyTorch's own kernels are used, several times slower", cure)
    ]


def _nvdiffrast() -> Finding:
    try:
        version = importlib.metadata.version("nvdiffrast")
    except importlib.metadata.PackageNotFoundError:
        return Finding(NOTE, "nvdiffrast", "not installed, not needed: PBRfit has its own rasterizer")
    return Finding(OK, "nvdiffrast", f"{version}, not used: PBRfit has its own rasterizer")


def _blender_module() -> list[Finding]:
    """Whether the module bpy can be imported, and the devices that its Cycles finds."""
    subject = "Blender (module bpy)"
    spec = importlib.util.find_spec("bpy")
    if spec is None:
        cure = 'pip install ".[blender]", for `pbrfit demo` and `pbrfit optimize`; or give them --blender PATH.'
        return [Finding(NOTE, subject, "not installed; an installed Blender with the add-on does not need it", cure)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-c", BLENDER_PROBE],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=START_SECONDS,
    )
    version = re.search(r"^PBRFIT (.*)$", result.stdout, re.MULTILINE)
    if version:
        return [Finding(OK, subject, version[1]), _cycles(result.stdout)]
    libraries = (missing_libraries(Path(spec.origin)) if spec.origin else []) or libraries_of_loader_error(
        result.stderr
    )
    cure = apt_line(libraries) if libraries else "pip install --force-reinstall bpy"
    return [Finding(MISSING, subject, f"cannot be imported: {_last_line(result.stderr)}", cure)]


def _cycles(said: str) -> Finding:
    """What Cycles can render references with; it takes the first if nothing else is set up in Blender."""
    devices = re.findall(r"^CYCLES (.*)$", said, re.MULTILINE)
    if devices:
        return Finding(OK, "Cycles devices", ", ".join(devices))
    cure = "Give `pbrfit optimize` the option --render-device cpu, or update the graphics driver."
    return Finding(NOTE, "Cycles devices", "Blender ended when it looked for them", cure)


def _blender_program(program: str) -> Finding:
    subject = "Blender (program)"
    found = shutil.which(program)
    if found is None:
        return Finding(MISSING, subject, f"there is no program {program}", "Give --blender the path of a Blender.")
    try:
        result = subprocess.run(
            [found, "--version"], capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
    except OSError as error:
        return Finding(MISSING, subject, f"{found} cannot be run: {error.strerror}", "Give --blender another path.")
    version = re.search(r"^Blender (\d+)\.(\d+)\.(\d+)", result.stdout, re.MULTILINE)
    if version is None:
        libraries = libraries_of_loader_error(result.stderr)
        cure = apt_line(libraries) if libraries else "Give --blender the path of a Blender program."
        return Finding(
            MISSING, subject, f"{found} is not a Blender, or does not start: {_last_line(result.stderr)}", cure
        )
    if tuple(map(int, version.groups())) < OLDEST_BLENDER:
        oldest = ".".join(map(str, OLDEST_BLENDER))
        return Finding(MISSING, subject, version[0], f"Use Blender {oldest} or newer.")
    return Finding(OK, subject, f"{version[0]} ({found})")


def missing_libraries(module: Path) -> list[str]:
    """The shared libraries that ``module`` needs and the system lacks: from ldd, or else from a list of known ones."""
    if sys.platform != "linux":
        return []
    if shutil.which("ldd"):
        listing = subprocess.run(["ldd", str(module)], capture_output=True, text=True, check=False).stdout
        return libraries_not_found(listing)
    return [name for name in LIBRARY_PACKAGES if not _loads(name)]


def libraries_not_found(ldd_output: str) -> list[str]:
    """The libraries that ldd lists as "not found"."""
    return sorted(set(re.findall(r"^\s*(\S+) => not found", ldd_output, re.MULTILINE)))


def libraries_of_loader_error(stderr: str) -> list[str]:
    """The library that the dynamic loader names when a program does not start."""
    return re.findall(r"([\w.+-]+): cannot open shared object file", stderr)


def apt_line(libraries: list[str]) -> str:
    """What to do about missing libraries on Debian and Ubuntu. Libraries of unknown packages are named."""
    packages = sorted({LIBRARY_PACKAGES[name] for name in libraries if name in LIBRARY_PACKAGES})
    unknown = [name for name in libraries if name not in LIBRARY_PACKAGES]
    lines = [f"apt-get install {' '.join(packages)}"] if packages else []
    return "\n".join(lines + ([f"Install the system libraries {', '.join(unknown)}."] if unknown else []))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _import_cure(name: str, stderr: str) -> str:
    """What to do about a package that is installed and cannot be imported."""
    libraries = libraries_of_loader_error(stderr)
    if libraries:
        return apt_line(libraries)
    if "DLL load failed" in stderr or "WinError 126" in stderr or "c10.dll" in stderr:
        return "Install Microsoft's Visual C++ Redistributable (x64), then try again."
    return f"pip install --force-reinstall {name}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
