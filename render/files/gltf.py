"""glTF 2.0 files (.gltf, .glb): read all of a scene as one mesh, and write a mesh with its maps.

glTF's space is the renderer's: Y up, right-handed, v pointing down, and the same sign of tangents. pygltflib reads and
writes the containers and the JSON; this module decodes the accessors' data.
"""

from __future__ import annotations

import binascii
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from render.files.gltf_materials import GltfMaterial, GltfScene, add_material, read_material
from render.files.gltf_nodes import placed_meshes
from render.files.gltf_package import pygltflib
from render.geometry.mesh import Mesh, MeshError, validate
from render.geometry.tangents import compute_tangents

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_FLOAT, _UNSIGNED_INT = 5126, 5125
_ARRAY, _ELEMENT_ARRAY = 34962, 34963
# Extensions that change only how a surface looks, or that this module reads.
_HARMLESS = ("KHR_materials_", "KHR_lights_punctual", "KHR_mesh_quantization", "KHR_texture_transform")


def load_gltf(path: str | Path) -> Mesh:
    """The mesh of a .gltf or .glb file; for its materials and for all details see `read_gltf`."""
    return read_gltf(path).mesh


def read_gltf(path: str | Path) -> GltfScene:
    """All triangles of the default scene as one mesh in world space, and the materials that they use.

    The nodes' transforms place the meshes (a mirroring one flips winding and tangent sign), and primitives become one mesh
    with a material number for each triangle. Lists, strips and fans of triangles are read; points, lines, skins, morph
    targets and animations are skipped. Quantized and normalized attributes become float32. Missing normals become flat
    ones, as the format says, and missing tangents MikkTSpace's.

    Raises MeshError: no glTF, a file beside it missing, no triangles, no TEXCOORD_0, sparse accessors, Draco, meshopt or
    another extension that is required, indices out of range, values that are not finite.
    """
    file = _File(Path(path))
    try:
        return _read_scene(file)
    except (LookupError, TypeError, AttributeError, OverflowError, binascii.Error) as error:
        # References to missing things, and values of another type than the format has.
        raise MeshError(f"{path} contradicts itself ({error}): export it again") from error


def _read_scene(file: _File) -> GltfScene:
    meshes: list[Mesh] = []
    used: dict[int, int] = {}
    for number, matrix in placed_meshes(file.gltf, str(file.path)):
        for primitive in file.gltf.meshes[number].primitives:
            mesh = _primitive(file, primitive)
            if mesh is not None:
                slot = used.setdefault(-1 if primitive.material is None else primitive.material, len(used))
                meshes.append(_moved(replace(mesh, material=torch.full_like(mesh.material, slot)), matrix))
    if not meshes:
        raise MeshError(f"{file.path} has no triangles in its scene: export the mesh with its faces")
    mesh = _joined(meshes)
    validate(mesh, str(file.path))
    return GltfScene(mesh, [read_material(file.gltf, i, file.image) for i in used])


def save_gltf(path: str | Path, mesh: Mesh, materials: GltfMaterial | Sequence[GltfMaterial] = ()) -> None:
    """Write one .glb with the mesh, its tangents and its materials: metallic-roughness, the images inside as PNG.

    Material m of `mesh.material` is `materials[m]` (a single one needs no list), and a plain one where there are fewer. A
    primitive leaves out the vertices that its material does not use. The file is written aside and then moved into place.
    Raises MeshError for a path that does not end in .glb or a mesh that `validate` refuses, ImageError for an image that
    PNG cannot hold.
    """
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise MeshError(f"{path.name} must end in .glb: other forms of glTF are not written")
    validate(mesh)
    named = [materials] if isinstance(materials, GltfMaterial) else list(materials)
    count = int(mesh.material.max()) + 1
    named += [GltfMaterial(f"material_{i}") for i in range(len(named), count)]
    gltf = pygltflib.GLTF2(asset=pygltflib.Asset(version="2.0", generator="PBRfit"))
    blob = bytearray()
    primitives = []
    for number in range(count):
        chosen = mesh.triangles[mesh.material == number]
        if len(chosen):
            primitives.append(_write_primitive(gltf, blob, mesh, chosen, len(gltf.materials)))
            add_material(gltf, named[number], lambda data: _add_view(gltf, blob, data, None))
    gltf.meshes = [pygltflib.Mesh(primitives=primitives, name=path.stem)]
    gltf.nodes = [pygltflib.Node(mesh=0, name=path.stem)]
    gltf.scenes, gltf.scene = [pygltflib.Scene(nodes=[0])], 0
    gltf.buffers = [pygltflib.Buffer(byteLength=len(blob))]
    gltf.set_binary_blob(bytes(blob))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving_") as aside:
        (Path(aside) / path.name).write_bytes(b"".join(gltf.save_to_bytes()))
        (Path(aside) / path.name).replace(path)


class _File:
    """A glTF file and the bytes that it points to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise MeshError(f"there is no file {path}: check the path")
        try:
            self.gltf = pygltflib.GLTF2().load(str(path))
        except Exception as error:  # the library's parsers may raise anything on a broken file
            raise MeshError(f"{path} is not glTF 2.0 ({error}): export it again as .glb") from error
        if self.gltf is None or not str(self.gltf.asset.version or "").startswith("2"):
            raise MeshError(f"{path} is not glTF 2.0: export it again as .glb")
        for extension in self.gltf.extensionsRequired or []:
            if not extension.startswith(_HARMLESS):
                raise MeshError(f"{path} needs the extension {extension}: export it without (no compression)")
        self._buffers: dict[int, bytes] = {}

    def _uri(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            head, _, data = uri.partition(",")
            return b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data)
        file = self.path.parent / unquote(uri)
        try:
            return file.read_bytes()
        except OSError as error:
            raise MeshError(f"{self.path} needs {file}, which cannot be read ({error.strerror})") from error

    def view(self, number: int) -> tuple[bytes, int, int | None]:
        """The buffer of a view, where the view starts, and its stride."""
        view = self.gltf.bufferViews[number]
        if view.buffer not in self._buffers:
            uri = self.gltf.buffers[view.buffer].uri
            self._buffers[view.buffer] = self.gltf.binary_blob() or b"" if uri is None else self._uri(uri)
        return self._buffers[view.buffer], view.byteOffset or 0, view.byteStride

    def image(self, number: int) -> bytes:
        """The bytes of an image file."""
        image = self.gltf.images[number]
        if image.bufferView is None:
            return self._uri(image.uri or "")
        data, start, _ = self.view(image.bufferView)
        return data[start : start + self.gltf.bufferViews[image.bufferView].byteLength]

    def accessor(self, number: int) -> NDArray[Any]:
        """The values of an accessor [N, columns], normalized integers as float32 of 0..1 or -1..1."""
        accessor = self.gltf.accessors[number]
        if accessor.sparse is not None and accessor.sparse.count:
            raise MeshError(f"{self.path} has a sparse accessor ({number}): export it without")
        if accessor.bufferView is None:
            raise MeshError(f"{self.path} has an accessor without data ({number}): export it without compression")
        if accessor.componentType not in _COMPONENTS or accessor.type not in _COLUMNS:
            raise MeshError(f"{self.path} has an accessor of an unknown type ({number}): export it again")
        data, start, stride = self.view(accessor.bufferView)
        dtype = np.dtype(_COMPONENTS[accessor.componentType])
        columns = _COLUMNS[accessor.type]
        start += accessor.byteOffset or 0
        stride = stride or columns * dtype.itemsize
        if accessor.count < 1 or start + stride * (accessor.count - 1) + columns * dtype.itemsize > len(data):
            raise MeshError(f"{self.path} is cut short: accessor {number} reaches beyond its data")
        stored: NDArray[Any] = np.ndarray((accessor.count, columns), dtype, data, start, (stride, dtype.itemsize))
        values = stored.astype(dtype.newbyteorder("="))
        if accessor.normalized and dtype.kind in "iu":
            return np.maximum(values.astype(np.float32) / np.iinfo(values.dtype).max, -1)
        return values


def _primitive(file: _File, primitive: Any) -> Mesh | None:
    """A primitive in its own space, material 0; None for points and lines."""
    mode = 4 if primitive.mode is None else primitive.mode
    if mode not in (4, 5, 6):
        return None
    if "KHR_draco_mesh_compression" in (primitive.extensions or {}):
        raise MeshError(f"{file.path} is compressed with Draco: export it without compression")
    attributes = primitive.attributes
    if attributes.POSITION is None:
        return None
    if attributes.TEXCOORD_0 is None:
        raise MeshError(f"{file.path} has triangles without TEXCOORD_0: unwrap the mesh and export its UVs")

    def read(number: int) -> torch.Tensor:
        return torch.from_numpy(file.accessor(number).astype(np.float32))

    position, uv = read(attributes.POSITION), read(attributes.TEXCOORD_0)
    vertices = len(position)
    if primitive.indices is None:
        index = torch.arange(vertices)
    else:
        index = torch.from_numpy(file.accessor(primitive.indices).astype(np.int64).reshape(-1))
    triangles = _triangles(index, mode)
    if len(triangles) == 0:
        return None
    normal = None if attributes.NORMAL is None else read(attributes.NORMAL)
    tangent = None if attributes.TANGENT is None or normal is None else read(attributes.TANGENT)
    for name, value in {"TEXCOORD_0": uv, "NORMAL": normal, "TANGENT": tangent}.items():
        if value is not None and len(value) != vertices:
            raise MeshError(f"{file.path}: {name} has {len(value)} values for {vertices} vertices: export it again")
    mesh = Mesh(
        position=position,
        normal=torch.zeros_like(position) if normal is None else F.normalize(normal, dim=-1),
        tangent=torch.zeros(vertices, 4) if tangent is None else tangent,
        uv=uv,
        triangles=triangles,
        material=torch.zeros(len(triangles), dtype=torch.int64),
    )
    if int(triangles.min()) < 0 or int(triangles.max()) >= vertices:
        raise MeshError(f"{file.path} has triangles with indices beyond its {vertices} vertices: export it again")
    if normal is None:
        mesh = _with_flat_normals(mesh)
    return compute_tangents(mesh) if tangent is None else mesh


def _triangles(index: torch.Tensor, mode: int) -> torch.Tensor:
    """Triangles [T, 3] of a list (4), a strip (5) or a fan (6) of vertices [N]."""
    if mode == 4:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    step = torch.arange(max(len(index) - 2, 0))
    if mode == 5:  # every second one has the opposite winding
        odd = step % 2
        return index[torch.stack([step, step + 1 + odd, step + 2 - odd], dim=-1)]
    return index[torch.stack([step + 1, step + 2, torch.zeros_like(step)], dim=-1)]


def _with_flat_normals(mesh: Mesh) -> Mesh:
    corners = mesh.triangles.reshape(-1)
    return replace(
        mesh,
        position=mesh.position[corners],
        normal=mesh.geometric_normal.repeat_interleave(3, 0),
        tangent=torch.zeros(len(corners), 4),
        uv=mesh.uv[corners],
        triangles=torch.arange(len(corners)).reshape(-1, 3),
    )


def _moved(mesh: Mesh, matrix: NDArray[np.float64]) -> Mesh:
    """The mesh at the place that a float64 matrix [4, 4] gives it."""
    if np.array_equal(matrix, np.eye(4)):
        return mesh
    linear = torch.from_numpy(matrix[:3, :3])
    mirrored = float(torch.linalg.det(linear)) < 0
    # The cofactors turn normals as the inverse transpose does, and also exist for a matrix that flattens the mesh.
    cofactors = torch.stack([torch.linalg.cross(linear[(i + 1) % 3], linear[(i + 2) % 3]) for i in range(3)])
    normal = F.normalize(mesh.normal.double() @ cofactors.T * (-1 if mirrored else 1), dim=-1)
    tangent = mesh.tangent[:, :3].double() @ linear.T
    tangent = F.normalize(tangent - normal * (tangent * normal).sum(-1, keepdim=True), dim=-1)
    sign = mesh.tangent[:, 3:] * (-1 if mirrored else 1)
    return replace(
        mesh,
        position=(mesh.position.double() @ linear.T + torch.from_numpy(matrix[:3, 3])).float(),
        normal=normal.float(),
        tangent=torch.cat([tangent.float(), sign], dim=-1),
        triangles=mesh.triangles.flip(-1) if mirrored else mesh.triangles,
    )


def _joined(meshes: list[Mesh]) -> Mesh:
    first = np.cumsum([0] + [len(mesh.position) for mesh in meshes])
    parts = {name: torch.cat([getattr(mesh, name) for mesh in meshes]) for name in Mesh.__dataclass_fields__}
    parts["triangles"] = torch.cat([mesh.triangles + int(i) for mesh, i in zip(meshes, first, strict=False)])
    return Mesh(**parts)


def _write_primitive(gltf: Any, blob: bytearray, mesh: Mesh, triangles: torch.Tensor, material: int) -> Any:
    vertices, index = torch.unique(triangles, return_inverse=True)
    tangent = mesh.tangent[vertices]
    normal = F.normalize(mesh.normal[vertices], dim=-1)
    arrays = {"POSITION": mesh.position[vertices], "NORMAL": normal, "TEXCOORD_0": mesh.uv[vertices]}
    lengths = torch.cat([normal.norm(dim=-1), tangent[:, :3].norm(dim=-1)])
    # The format allows only unit vectors; readers compute the ones that are not written.
    if bool(((lengths - 1).abs() < 1e-3).all()):
        arrays["TANGENT"] = torch.cat([F.normalize(tangent[:, :3], dim=-1), tangent[:, 3:].sign()], dim=-1)
    elif not bool(((normal.norm(dim=-1) - 1).abs() < 1e-3).all()):
        del arrays["NORMAL"]
    attributes = pygltflib.Attributes()
    for name, values in arrays.items():
        setattr(attributes, name, _add_accessor(gltf, blob, values.detach().cpu().float().numpy(), _ARRAY))
    corners = index.reshape(-1, 1).cpu().numpy().astype(np.uint32)
    indices = _add_accessor(gltf, blob, corners, _ELEMENT_ARRAY)
    return pygltflib.Primitive(attributes=attributes, indices=indices, material=material, mode=4)


def _add_accessor(gltf: Any, blob: bytearray, values: NDArray[np.float32] | NDArray[np.uint32], target: int) -> int:
    columns = values.shape[1]
    accessor = pygltflib.Accessor(
        bufferView=_add_view(gltf, blob, values.tobytes(), target),
        componentType=_FLOAT if values.dtype == np.float32 else _UNSIGNED_INT,
        count=len(values),
        type={1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[columns],
        min=values.min(0).tolist(),
        max=values.max(0).tolist(),
    )
    gltf.accessors.append(accessor)
    return len(gltf.accessors) - 1


def _add_view(gltf: Any, blob: bytearray, data: bytes, target: int | None) -> int:
    gltf.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=len(blob), byteLength=len(data), target=target))
    blob += data + b"\0" * (-len(data) % 4)
    return len(gltf.bufferViews) - 1
