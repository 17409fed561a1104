"""Wavefront OBJ files: read them fast, large ones too, and write them completely or not at all."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, starmap
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from render.files.mtl import MaterialTextures, MtlMaterial, load_mtl, save_mtl
from render.geometry.mesh import Mesh, MeshError, smooth_normals, unify_indices, validate
from render.geometry.tangents import compute_tangents

_Number = TypeVar("_Number", bound=np.generic)
_Integers = NDArray[np.int64]
_Floats = NDArray[np.float64]

# Marks between the numbers of the faces; OBJ's own indices are positive by then.
_END, _SLASH, _NONE = -1, -2, -3


@dataclass(frozen=True)
class ObjScene:
    """An OBJ file: `mesh`, and for each number in `mesh.material` the material at that place in `materials`."""

    mesh: Mesh
    materials: list[MtlMaterial]


def load_obj(path: str | Path, require_uv: bool = True) -> Mesh:
    """The mesh of a Wavefront OBJ file; for its materials and for all details see `read_obj`."""
    return read_obj(path, require_uv).mesh


def read_obj(path: str | Path, require_uv: bool = True) -> ObjScene:
    """Load a Wavefront OBJ file with its MTL libraries.

    Polygons become fans of triangles. Indices may be negative, and corners may be v, v/vt, v//vn or v/vt/vn, mixed. Normals
    become unit vectors; a corner without a normal (or with one of no length) gets the smooth normal of its position, and
    smoothing groups are ignored. v is flipped to point down. Tangents are MikkTSpace's. Axes stay as they are (Y up).
    Materials are numbered in the order in which faces use them. A material that no library defines has the defaults of
    `MtlMaterial`, and faces before any `usemtl` have a material without a name. A missing library is not an error.

    Raises MeshError, which names the line if there is one: not valid OBJ, indices out of range, no faces, values that are
    not finite, or corners without texture coordinates. With `require_uv` False, such corners get uv (0, 0) instead.
    """
    path = Path(path)
    try:
        lines = _sorted_lines(path, path.read_bytes())
    except OSError as error:
        raise MeshError(f"{path} cannot be read ({error.strerror}): check the path") from error
    position, uv, normal = (_rows(lines, word, columns) for word, columns in (("v", 3), ("vt", 2), ("vn", 3)))
    corners, sizes = _faces(lines, (len(position), len(uv), len(normal)))
    fan = _fan(sizes)
    mesh = _mesh(path, position, uv, normal, corners[fan], require_uv)
    names, material = _materials(lines, sizes)
    library = {entry.name: entry for name in lines.libraries for entry in _library(path.parent / name)}
    mesh = compute_tangents(replace(mesh, material=torch.from_numpy(material)))
    return ObjScene(mesh, [library.get(name, MtlMaterial(name)) for name in names])


def save_obj(
    path: str | Path,
    mesh: Mesh,
    materials: Sequence[MtlMaterial] = (),
    textures: Sequence[MaterialTextures | None] = (),
) -> None:
    """Write `path` (.obj), the library beside it (.mtl) and the given textures, so that `load_obj` reads the same mesh.

    Vertices keep their order (loading drops those that no triangle uses); values have all the digits of float32. Material m
    of `mesh.material` is `materials[m]`, or a plain "material_m" where there are fewer. `textures[m]`, if given, goes to
    files named after the OBJ and the material, and replaces its maps (see `save_mtl`). All files are written aside and then
    moved into place, the OBJ last, so a failure leaves no half file. Raises MeshError, OSError.
    """
    path = Path(path)
    validate(mesh)
    count = int(mesh.material.max()) + 1
    named = [*materials, *(MtlMaterial(f"material_{i}") for i in range(len(materials), count))]
    _check_names(named)
    library = path.with_suffix(".mtl").name
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving_") as aside:
        save_mtl(Path(aside) / library, named, textures, stem=path.stem, relative_to=path.parent)
        (Path(aside) / path.name).write_text(_obj_text(mesh, [m.name for m in named], library), encoding="utf-8")
        for file in sorted(Path(aside).iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)


@dataclass
class _Lines:
    """An OBJ file sorted by the first words of its lines ("v", "vt", "vn", "f"), each in pieces of successive lines.

    pieces     text without the first words, one line after the other
    numbers    line numbers from 1, of every line of a kind
    materials  the number of faces before each `usemtl`, and its name
    libraries  the file names of `mtllib`
    """

    path: Path
    pieces: dict[str, list[bytes]]
    numbers: dict[str, _Integers]
    materials: list[tuple[int, str]] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)

    def joined(self, word: str, end: str) -> bytes:
        """All lines of a kind, with `end` after each."""
        mark = f" {end} ".encode()
        return b"".join(piece.replace(b"\n", mark) + mark for piece in self.pieces[word])

    def texts(self, word: str) -> Iterator[tuple[str, int]]:
        """The lines of a kind with their numbers."""
        lines = b"\n".join(self.pieces[word]).decode(errors="replace").split("\n")
        return zip(lines, self.numbers[word].tolist(), strict=True)

    def invalid(self, number: int, word: str, text: str, why: object) -> MeshError:
        return MeshError(f"{self.path}, line {number}: {f'{word} {text.strip()}'!r} is not valid OBJ ({why})")


_WORDS = ("v", "vt", "vn", "f")


def _sorted_lines(path: Path, data: bytes) -> _Lines:
    """Sort the lines without a Python step for each line: large files have millions."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\t", b" ")
    # Continued lines become one, and their newlines move behind it, so that all other lines keep their numbers.
    if b"\\\n" in data:
        data = re.sub(rb"(?m)^((?:.*\\\n)+)(.*)$", _continued, data)
    if data[:1] == b" " or b"\n " in data:
        data = re.sub(rb"(?m)^ +", b"", data)
    codes, starts = _line_kinds(data)
    first = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    bounds = np.concatenate([starts[first], [len(data) + 1]]).tolist()
    lines = _Lines(path, {word: [] for word in _WORDS}, {})
    for i, word in enumerate(_WORDS):
        lines.numbers[word] = np.flatnonzero(codes == i) + 1
    before = np.concatenate([np.zeros((1, 4), np.int64), np.cumsum(_one_hot_runs(codes, first), axis=0)])
    for run, code in enumerate(codes[first].tolist()):
        piece = data[bounds[run] : bounds[run + 1] - 1]
        if code == len(_WORDS):
            _other_lines(lines, piece, int(before[run, 3]))
            continue
        word = _WORDS[code]
        piece = piece[len(word) + 1 :].replace(f"\n{word} ".encode(), b"\n")
        if b"#" in piece:
            piece = re.sub(rb"#.*", b"", piece)
        if word == "f" and b"-" in piece:
            piece = _without_negative(lines, piece, before[run])
        lines.pieces[word].append(piece)
    return lines


def _continued(match: re.Match[bytes]) -> bytes:
    return match[1].replace(b"\\\n", b" ") + match[2] + b"\n" * match[1].count(b"\n")


def _line_kinds(data: bytes) -> tuple[NDArray[np.int8], _Integers]:
    """For each line the place of its word in `_WORDS` (their number: another word), and the line's start."""
    letters = np.frombuffer(data + b"\n\n\n", np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(letters[: len(data)] == ord("\n")) + 1])
    zero, one, two = (letters[starts + i] for i in range(3))
    space, v = ord(" "), zero == ord("v")
    codes = np.full(len(starts), len(_WORDS), np.int8)
    codes[v & (one == space)] = 0
    codes[v & (one == ord("t")) & (two == space)] = 1
    codes[v & (one == ord("n")) & (two == space)] = 2
    codes[(zero == ord("f")) & (one == space)] = 3
    return codes, starts


def _one_hot_runs(codes: NDArray[np.int8], first: _Integers) -> _Integers:
    """The number of lines of each kind in each run, [runs, 4]."""
    length = np.diff(np.concatenate([first, [len(codes)]]))
    return np.where(codes[first, None] == np.arange(4), length[:, None], 0)


def _other_lines(lines: _Lines, piece: bytes, faces: int) -> None:
    for line in piece.decode(errors="replace").split("\n"):
        word, _, rest = line.partition(" ")
        if word == "usemtl":
            lines.materials.append((faces, rest.strip()))
        elif word == "mtllib":
            lines.libraries.append(rest.strip())


def _without_negative(lines: _Lines, piece: bytes, before: _Integers) -> bytes:
    """The faces with negative indices changed to positive ones; `before` counts the lines of each kind before them."""
    counts = before[:3].tolist()
    found = []
    for i, text in enumerate(piece.decode(errors="replace").split("\n")):
        words = []
        for word in text.split():
            parts = word.split("/")
            for k, (part, count) in enumerate(zip(parts, counts, strict=False)):
                if re.fullmatch(r"-\d+", part):
                    if int(part) == 0 or -int(part) > count:
                        number = int(lines.numbers["f"][before[3] + i])
                        raise lines.invalid(number, "f", text, f"index {part} points beyond the {count} given")
                    parts[k] = str(count + int(part) + 1)
            words.append("/".join(parts))
        found.append(" ".join(words))
    return "\n".join(found).encode()


def _parse(text: bytes, dtype: type[_Number]) -> NDArray[_Number]:
    """The numbers of a text up to the first word that is not a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except ValueError:  # later versions of numpy raise it
            return np.empty(0, dtype)


def _rows(lines: _Lines, word: str, columns: int) -> _Floats:
    """The first columns of lines of numbers, float64 [N, columns]; a texture coordinate may have only one."""
    count = len(lines.numbers[word])
    if count == 0:
        return np.empty((0, columns))
    # A NaN after each line shows where it ends.
    values = _parse(lines.joined(word, "nan"), np.float64)
    width = int(np.isnan(values).argmax()) if len(values) else 0
    if width >= columns and values.size == count * (width + 1):
        values = values.reshape(count, width + 1)
        if np.isnan(values[:, -1]).all() and np.isfinite(values[:, :-1]).all():
            return values[:, :columns]
    rows = np.zeros((count, columns))
    for i, (text, number) in enumerate(lines.texts(word)):
        try:
            row = [float(part) for part in text.split()][:columns]
        except ValueError as error:
            raise lines.invalid(number, word, text, error) from error
        if len(row) < (1 if word == "vt" else columns) or not np.isfinite(row).all():
            raise lines.invalid(number, word, text, "finite numbers are missing")
        rows[i, : len(row)] = row
    return rows


class _FaceForm(NamedTuple):
    """Of faces as tokens: the places of the indices, the corner and the part (0 position, 1 uv, 2 normal) of each, and the
    number of corners of each face.
    """

    place: _Integers
    corner: _Integers
    part: _Integers
    sizes: _Integers


def _faces(lines: _Lines, counts: tuple[int, int, int]) -> tuple[_Integers, _Integers]:
    """Indices from 0 of all corners, int64 [C, 3] (-1: none), and the number of corners of each face [F]."""
    count = len(lines.numbers["f"])
    if count == 0:
        raise MeshError(f"{lines.path} has no faces: export the mesh with its faces")
    text = lines.joined("f", str(_END)).replace(b"//", f"/{_NONE}/".encode()).replace(b"/ ", f"/{_NONE} ".encode())
    tokens = _parse(text.replace(b"/", f" {_SLASH} ".encode()), np.int64)
    ends = tokens == _END
    if ends.sum() == count and tokens[-1] == _END:
        # Decode once if all faces have the same form.
        width = int(ends.argmax()) + 1
        alike = tokens.size == count * width
        if alike:
            marks = np.minimum(tokens.reshape(count, width), 0)
            alike = bool((marks == marks[0]).all())
        rows = tokens.reshape(count if alike else 1, -1)
        form = _decode(rows[0])
        if form is not None:
            numbers = rows[:, form.place]
            if not ((numbers < 1) | (numbers > np.array(counts)[form.part])).any():
                index = np.full((len(rows), int(form.sizes.sum()), 3), -1)
                index[:, form.corner, form.part] = numbers - 1
                return index.reshape(-1, 3), np.tile(form.sizes, len(rows))
    raise _first_bad_face(lines, counts)


def _decode(tokens: _Integers) -> _FaceForm | None:
    """How to read the tokens of faces; None where these are not faces."""
    before = np.concatenate([[_END], tokens[:-1]])
    slash, ends = tokens == _SLASH, tokens == _END
    start = ~slash & ~ends & (before != _SLASH)
    sizes = np.bincount((np.cumsum(ends) - ends)[start], minlength=int(ends.sum()))
    if (slash & ((before == _END) | (before == _SLASH))).any() or sizes.min() < 3:
        return None
    corner = np.cumsum(start) - 1
    slashes = np.cumsum(slash)
    value = np.flatnonzero(tokens >= 0)
    part = (slashes - slashes[start][np.maximum(corner, 0)])[value]
    if part.max() > 2 or (tokens[start] == _NONE).any():
        return None
    return _FaceForm(value, corner[value], part, sizes)


def _first_bad_face(lines: _Lines, counts: tuple[int, int, int]) -> MeshError:
    for text, number in lines.texts("f"):
        words = text.split()
        if len(words) < 3:
            return lines.invalid(number, "f", text, "a face has three corners or more")
        for word in words:
            parts = word.split("/")
            if len(parts) > 3 or not parts[0]:
                return lines.invalid(number, "f", text, f"{word} is not v, v/vt, v//vn or v/vt/vn")
            for part, count in zip(parts, counts, strict=False):
                try:
                    if part and not 1 <= int(part) <= count:
                        return lines.invalid(number, "f", text, f"index {part} points beyond the {count} given")
                except ValueError as error:
                    return lines.invalid(number, "f", text, error)
    return MeshError(f"{lines.path} has faces that cannot be read: export it again, as plain OBJ")


def _fan(sizes: _Integers) -> _Integers:
    """Corners [T * 3] of the triangles that fan out from the first corner of each face."""
    triangles = sizes - 2
    first = np.repeat(np.cumsum(sizes) - sizes, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    corners: _Integers = np.stack([first, first + step + 1, first + step + 2], axis=-1).reshape(-1)
    return corners


def _mesh(path: Path, positions: _Floats, uvs: _Floats, normals: _Floats, corners: _Integers, require_uv: bool) -> Mesh:
    index = torch.from_numpy(corners)
    without_uv = index[:, 1] < 0
    if bool(without_uv.any()):
        if require_uv:
            raise MeshError(f"{path} has faces without texture coordinates: unwrap the mesh and export its UVs")
        uvs = np.concatenate([uvs, [[0.0, 1.0]]])
    position = torch.from_numpy(positions).float()
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normal = torch.from_numpy(normals / np.where(length > 0, length, 1)).float()
    without_normal = index[:, 2] < 0
    if len(normals):
        without_normal = without_normal | torch.from_numpy(length[:, 0] == 0)[index[:, 2]]
    if bool(without_normal.any()):
        normal = torch.cat([normal, smooth_normals(position, index[:, 0].reshape(-1, 3))])
    rows, inverse = unify_indices(
        index[:, 0],
        torch.where(without_uv, len(uvs) - 1, index[:, 1]),
        torch.where(without_normal, len(normals) + index[:, 0], index[:, 2]),
    )
    uv = torch.from_numpy(np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=-1)).float()
    mesh = Mesh(
        position=position[rows[:, 0]],
        normal=normal[rows[:, 2]],
        tangent=torch.zeros(len(rows), 4),
        uv=uv[rows[:, 1]],
        triangles=inverse.reshape(-1, 3),
        material=torch.zeros(len(inverse) // 3, dtype=torch.int64),
    )
    validate(mesh, str(path))
    return mesh


def _materials(lines: _Lines, sizes: _Integers) -> tuple[list[str], _Integers]:
    """Names in the order of their first face, and for each triangle the number of its name, int64 [T]."""
    marks = [(0, ""), *lines.materials, (len(sizes), "")]
    names: dict[str, int] = {}
    of_face = np.zeros(len(sizes), np.int64)
    for (first, name), (last, _) in pairwise(marks):
        if last > first:
            of_face[first:last] = names.setdefault(name, len(names))
    return list(names), np.repeat(of_face, sizes - 2)


def _library(path: Path) -> list[MtlMaterial]:
    return load_mtl(path) if path.is_file() else []


def _check_names(materials: Sequence[MtlMaterial]) -> None:
    names = [material.name for material in materials]
    if len(set(names)) < len(names) or any(name != name.strip() or "\n" in name for name in names):
        raise MeshError(f"the material names {names} must differ and fit on a line: rename the materials")


def _obj_text(mesh: Mesh, names: list[str], library: str) -> str:
    """The OBJ file of a mesh: a vertex's position, uv and normal have the same number."""
    position, normal, uv = (x.detach().cpu().double().numpy() for x in (mesh.position, mesh.normal, mesh.uv))
    parts = [f"mtllib {library}"]
    parts += starmap("v {:.9g} {:.9g} {:.9g}".format, position.tolist())
    # 17 digits: 1 - v has more digits than v.
    parts += starmap("vt {:.9g} {:.17g}".format, np.stack([uv[:, 0], 1 - uv[:, 1]], -1).tolist())
    parts += starmap("vn {:.9g} {:.9g} {:.9g}".format, normal.tolist())
    triangles = (mesh.triangles.cpu().numpy() + 1).tolist()
    material = mesh.material.cpu().numpy()
    changes = np.concatenate([[0], np.flatnonzero(np.diff(material)) + 1, [len(material)]]).tolist()
    for first, last in pairwise(changes):
        if names[material[first]]:
            parts.append(f"usemtl {names[material[first]]}")
        parts += starmap("f {0}/{0}/{0} {1}/{1}/{1} {2}/{2}/{2}".format, triangles[first:last])
    return "\n".join(parts) + "\n"
