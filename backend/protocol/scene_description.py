"""What a preview shows, as it travels: the add-on writes it, the backend reads it, and it is checked here alone.

A scene is JSON that names arrays; the arrays travel beside it by their hashes. `SceneDescription.to_dict` and `from_dict`
are the two directions, `check_arrays` says whether the named arrays are of the kind that their place wants. The tables in
docs/protocol.md are made from these classes (docs/write_schema.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from .wire import ProtocolError

SRGB, LINEAR = "srgb", "linear"
ENCODINGS = (SRGB, LINEAR)
CHANNELS = (None, 0, 1, 2, 3)
COLORS = ("kd", "sheen_tint", "emission")
"""Values of a look that are colors; the others, except the normal, are numbers."""
LOBES = ("coat", "coat_roughness", "sheen", "sheen_tint", "sheen_roughness", "emission", "emission_strength")

Color = tuple[float, float, float]
Matrix = tuple[tuple[float, ...], ...]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TextureDescription:
    """An image that a look reads through the mesh's texture coordinates; it repeats beyond 0..1."""

    array: Annotated[
        str,
        "name of an array: uint8, float16 or float32 [h, w, 4], row 0 at the top; or uint8 [n], the bytes of an image file",
    ]
    channel: Annotated[int | None, "0 to 3: the channel that is read; null: red, green and blue"] = None
    encoding: Annotated[str, '"srgb" or "linear": what stored values mean; alpha is always linear'] = LINEAR

    def to_dict(self) -> dict[str, Any]:
        """The texture as JSON values."""
        return {"array": self.array, "channel": self.channel, "encoding": self.encoding}

    @classmethod
    def from_dict(cls, name: str, values: Mapping[str, Any]) -> TextureDescription:
        """The texture of a look's value `name`. Raises `ProtocolError`."""
        array, channel, encoding = values.get("array"), values.get("channel"), values.get("encoding", LINEAR)
        if not isinstance(array, str):
            raise refused(f"The look's {name} names the array {array!r:.80}, which is not there.")
        if encoding not in ENCODINGS or channel not in CHANNELS or isinstance(channel, (bool, float)):
            raise refused(f"The look's {name} has the channel {channel!r:.20} or the encoding {encoding!r:.20}.")
        if name in (*COLORS, "normal") and channel is not None:
            raise refused(f"The look's {name} is of one channel.")
        return cls(array, channel, encoding)


@dataclass(frozen=True)
class LookDescription:
    """A material as the preview shows it: each value is one for all of the surface, or a texture."""

    kd: Annotated[TextureDescription | Color, "linear base color"] = (0.5, 0.5, 0.5)
    alpha: Annotated[TextureDescription | float, "0..1"] = 1.0
    roughness: Annotated[TextureDescription | float, "perceptual, 0..1"] = 0.5
    metallic: Annotated[TextureDescription | float, "0..1"] = 0.0
    openness: Annotated[TextureDescription | float, "0..1, 1: nothing occludes; multiplies the radiance"] = 1.0
    normal: Annotated[TextureDescription | None, "tangent-space map (+Y), stored as 0..1; null: the mesh's normals"] = (
        None
    )
    coat: Annotated[TextureDescription | float, "weight of a clear coat of IOR 1.5, 0..1"] = 0.0
    coat_roughness: Annotated[TextureDescription | float, "perceptual, 0..1"] = 0.0
    sheen: Annotated[TextureDescription | float, "weight of the sheen, 0..1"] = 0.0
    sheen_tint: Annotated[TextureDescription | Color, "its linear color, 0..1"] = (1.0, 1.0, 1.0)
    sheen_roughness: Annotated[TextureDescription | float, "0..1"] = 0.5
    emission: Annotated[TextureDescription | Color, "linear color of the light that it sends out"] = (0.0, 0.0, 0.0)
    emission_strength: Annotated[TextureDescription | float, "a factor on that, 0 or more"] = 1.0

    @property
    def textures(self) -> tuple[TextureDescription, ...]:
        """Those of the values that are textures."""
        values = (getattr(self, item.name) for item in fields(self))
        return tuple(value for value in values if isinstance(value, TextureDescription))

    def to_dict(self) -> dict[str, Any]:
        """The look as JSON values. Coat, sheen and emission are absent where they have their defaults, as in most looks."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        absent = {item.name for item in fields(self) if item.name in LOBES and values[item.name] == item.default}
        return {name: _plain(value) for name, value in values.items() if name not in absent}

    @classmethod
    def from_dict(cls, values: object) -> LookDescription:
        """A look from JSON values; what is absent takes its default. Raises `ProtocolError`."""
        if not isinstance(values, Mapping):
            raise refused(f"A look is {type(values).__name__}, not an object.")
        known = [item.name for item in fields(cls) if item.name in values]
        return cls(**{name: _look_value(name, values[name]) for name in known})


@dataclass(frozen=True)
class MeshDescription:
    """Names of the arrays of a mesh: of its own space, in the renderer's axes."""

    vertex_position: Annotated[str, "float32 [N, 3]"]
    vertex_normal: Annotated[str, "float32 [N, 3], unit length"]
    vertex_tangent: Annotated[str, "float32 [N, 4]: MikkTSpace tangent, and its sign"]
    vertex_uv: Annotated[str, "float32 [N, 2], v up"]
    triangles: Annotated[str, "int32 [T, 3]"]

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays' names, in the order of the fields."""
        return tuple(getattr(self, item.name) for item in fields(self))

    def to_dict(self) -> dict[str, Any]:
        """The mesh as JSON values."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: object) -> MeshDescription:
        """A mesh from JSON values. Raises `ProtocolError`."""
        if not isinstance(values, Mapping):
            raise refused("A part of the scene has no mesh.")
        names = [values.get(item.name) for item in fields(cls)]
        if not all(isinstance(name, str) for name in names):
            raise refused(f"A part's mesh names arrays that are not there: {names!r:.200}.")
        return cls(*map(str, names))


@dataclass(frozen=True)
class JobMaps:
    """The maps of a running job."""

    id: Annotated[str, "the job"]
    set: Annotated[int, "which of its sets of maps"]

    def to_dict(self) -> dict[str, Any]:
        """The place as JSON values."""
        return {"id": self.id, "set": self.set}

    @classmethod
    def from_dict(cls, values: object) -> JobMaps:
        """A place from JSON values. Raises `ProtocolError`."""
        if isinstance(values, Mapping):
            name, number = values.get("id"), values.get("set")
            if isinstance(name, str) and type(number) is int:
                return cls(name, number)
        raise refused(f"A part's job is {values!r:.80}, not an id and a set.")


@dataclass(frozen=True)
class PartDescription:
    """Triangles that look alike."""

    mesh: Annotated[MeshDescription, "its arrays"]
    matrix: Annotated[Matrix, "4x4, rows of a column-vector matrix: from the mesh's space to the world's"]
    look: Annotated[LookDescription, "how it looks where `job` shows nothing"] = LookDescription()
    job: Annotated[JobMaps | None, "the running job whose maps it shows; null: none"] = None

    def to_dict(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {
            "mesh": self.mesh.to_dict(),
            "matrix": [list(row) for row in self.matrix],
            "look": self.look.to_dict(),
            "job": self.job.to_dict() if self.job is not None else None,
        }

    @classmethod
    def from_dict(cls, values: object) -> PartDescription:
        """A part from JSON values. Raises `ProtocolError`."""
        if not isinstance(values, Mapping):
            raise refused("A part of the scene has no mesh.")
        job = values.get("job")
        return cls(
            MeshDescription.from_dict(values.get("mesh")),
            _matrix(values.get("matrix")),
            LookDescription.from_dict(values.get("look", {})),
            JobMaps.from_dict(job) if job is not None else None,
        )


@dataclass(frozen=True)
class JobLight:
    """The light that a running job learns."""

    job: Annotated[str, "the job"]


@dataclass(frozen=True)
class SceneDescription:
    """All that a preview shows."""

    parts: Annotated[tuple[PartDescription, ...], "what is seen"]
    light: Annotated[
        str | JobLight | None,
        "name of an array: float32 [H, W, 3], equirectangular, row 0 at the top, linear; or the light that a job learns; "
        "null: none",
    ] = None

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs whose maps or light it shows."""
        found = {part.job.id for part in self.parts if part.job is not None}
        return frozenset(found | ({self.light.job} if isinstance(self.light, JobLight) else set()))

    def to_dict(self) -> dict[str, Any]:
        """The scene as JSON values; `from_dict` takes them back."""
        light = {"job": self.light.job} if isinstance(self.light, JobLight) else self.light
        return {"parts": [part.to_dict() for part in self.parts], "light": light}

    @classmethod
    def from_dict(cls, values: object) -> SceneDescription:
        """A scene from JSON values. Raises `ProtocolError` with code "scene" where it is not as described here."""
        if not isinstance(values, Mapping) or not isinstance(values.get("parts"), (list, tuple)):
            raise refused("The scene has no list of parts.")
        light = values.get("light")
        if isinstance(light, Mapping) and isinstance(light.get("job"), str):
            light = JobLight(light["job"])
        elif light is not None and not isinstance(light, str):
            raise refused("The scene's light is not an image of floats [h, w, 3].")
        return cls(tuple(PartDescription.from_dict(part) for part in values["parts"]), light)

    def check_arrays(self, arrays: Arrays) -> None:
        """Raises `ProtocolError` with code "scene" where a named array is missing or is not what its place wants.

        What can only be seen from the values (indices of triangles, an image file's content) is for who reads them.
        """
        for part in self.parts:
            names = part.mesh.names
            if not all(name in arrays for name in names):
                raise refused(f"A part's mesh names arrays that are not there: {list(names)!r:.200}.")
            for name, texture in _textures_of(part.look):
                if texture.array not in arrays:
                    raise refused(f"The look's {name} names the array {texture.array!r:.80}, which is not there.")
                _check_image(texture.array, arrays[texture.array])
        if isinstance(self.light, str):
            image = arrays.get(self.light)
            good = image is not None and image.ndim == 3 and image.shape[2] >= 3 and image.dtype.kind == "f"
            if image is None or not good or image.size == 0:
                raise refused("The scene's light is not an image of floats [h, w, 3].")


def refused(cause: str) -> ProtocolError:
    """The error for a scene that is not as docs/protocol.md has it."""
    return ProtocolError("scene", cause, "Describe the scene as docs/protocol.md says.")


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _textures_of(look: LookDescription) -> Iterator[tuple[str, TextureDescription]]:
    for item in fields(look):
        if isinstance(value := getattr(look, item.name), TextureDescription):
            yield item.name, value


def _check_image(name: str, image: NDArray[Any]) -> None:
    is_file = image.ndim == 1 and image.dtype == np.uint8
    is_image = image.ndim == 3 and image.shape[2] == 4 and image.dtype in (np.uint8, np.float16, np.float32)
    if not (is_file or is_image) or image.size == 0:
        raise refused(f"The image {name!r:.80} is {image.dtype} {list(image.shape)}, not [h, w, 4] or a file's bytes.")


def _plain(value: TextureDescription | Color | float | None) -> Any:
    if isinstance(value, TextureDescription):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _look_value(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return TextureDescription.from_dict(name, value)
    if name == "normal" and value is None:
        return None
    if name in COLORS and isinstance(value, (list, tuple)) and len(value) == 3 and all(map(is_number, value)):
        return tuple(float(part) for part in value)
    if name not in (*COLORS, "normal") and is_number(value):
        return float(value)
    raise refused(f"The look's {name} is {value!r:.80}, neither a texture nor a value.")


def _matrix(rows: Any) -> Matrix:
    try:
        matrix = tuple(tuple(float(value) for value in row) for row in rows)
    except (TypeError, ValueError, OverflowError):
        matrix = ()
    if [len(row) for row in matrix] != [4] * 4 or not all(math.isfinite(value) for row in matrix for value in row):
        raise refused("A part's matrix is not a 4x4 matrix of finite numbers.")
    return matrix
