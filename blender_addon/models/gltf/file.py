# SPDX-License-Identifier: GPL-3.0-or-later
"""A glTF file, binary or not, to which images can be added, and from which they can be read."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ...common.names import file_stem

MAGIC, JSON_CHUNK, BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}
LINEAR, LINEAR_MIPMAP_LINEAR = 9729, 9987


def media_type(data: bytes) -> str | None:
    """That of an image's file; None if glTF has no such images."""
    return next((kind for start, kind in TYPES.items() if data.startswith(start)), None)


class GltfFile:
    """A file as it was read. json: its JSON, which can be changed."""

    def __init__(self, path: Path, values: dict[str, Any], binary: bytes | None, folder: str) -> None:
        """binary: the chunk of binary data of a GLB; folder: the name of the one beside it for new images of another file."""
        self.json = values
        self._path, self._folder = path, folder
        self._is_binary, self._binary = binary is not None, bytearray(binary or b"")

    @classmethod
    def read(cls, path: Path, folder: str = "") -> GltfFile:
        """Read a file. folder: see above. Raises OSError, and ValueError if it is no glTF file."""
        data = path.read_bytes()
        if data[:4] != MAGIC:
            return cls(path, json.loads(data), None, folder)
        chunks: dict[int, bytes] = {}
        place = 12
        while place + 8 <= len(data):
            length, kind = struct.unpack_from("<II", data, place)
            chunks.setdefault(kind, data[place + 8 : place + 8 + length])
            place += 8 + length
        return cls(path, json.loads(chunks[JSON_CHUNK]), chunks.get(BIN_CHUNK, b""), folder)

    def write(self) -> None:
        """Write it where it was read. Raises OSError."""
        if not self._is_binary:
            self._path.write_text(json.dumps(self.json, indent=4), encoding="utf-8")
            return
        self._pad()
        if self._binary:
            self.json.setdefault("buffers", [{}])[0]["byteLength"] = len(self._binary)
        text = json.dumps(self.json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        parts = [struct.pack("<II", len(text), JSON_CHUNK), text]
        if self._binary:
            parts += [struct.pack("<II", len(self._binary), BIN_CHUNK), bytes(self._binary)]
        length = 12 + sum(map(len, parts))
        self._path.write_bytes(b"".join([struct.pack("<4sII", MAGIC, 2, length), *parts]))

    def image(self, name: str, data: bytes) -> str:
        """The name of the image in the file that has these bytes: of the one that is there, or of a new one."""
        images = self.json.setdefault("images", [])
        taken = [item.get("name", "") for item in images]
        for number, item in enumerate(images):
            if item.get("name") and taken.count(item["name"]) == 1 and self._bytes_of(number) == data:
                return str(item["name"])
        found, number = name, 0
        while found in taken:
            number += 1
            found = f"{name}.{number:03d}"
        kind = media_type(data)
        assert kind is not None  # others are written as PNG before
        if self._is_binary:
            self._pad()
            views = self.json.setdefault("bufferViews", [])
            views.append({"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)})
            self._binary += data
            images.append({"bufferView": len(views) - 1, "mimeType": kind, "name": found})
            return found
        place = self._path.parent / self._folder / f"{file_stem(found)}{SUFFIXES[kind]}"
        while place.exists():
            place = place.with_stem(f"{place.stem}_")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        images.append({"mimeType": kind, "name": found, "uri": quote(f"{self._folder}/{place.name}")})
        return found

    def image_bytes(self, name: str) -> bytes | None:
        """The file of an image by its name; None if there is no such image, or if it lies nowhere."""
        names = [item.get("name") for item in self.json.get("images", [])]
        return self._bytes_of(names.index(name)) if name in names else None

    def texture(self, image: str) -> int:
        """A new texture of an image, that repeats; returns its index."""
        names = [item.get("name") for item in self.json["images"]]
        samplers, textures = self.json.setdefault("samplers", []), self.json.setdefault("textures", [])
        usual = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR}
        if usual not in samplers:
            samplers.append(usual)
        textures.append({"sampler": samplers.index(usual), "source": names.index(image)})
        return len(textures) - 1

    def uses(self, extension: str) -> None:
        """Say that the file uses an extension of glTF."""
        used = self.json.setdefault("extensionsUsed", [])
        if extension not in used:
            used.append(extension)

    @staticmethod
    def coordinates(material: dict[str, Any]) -> dict[str, int]:
        """The UV map of a material's maps as its textures name it: {} is the first."""
        waiting: list[Any] = [material]
        while waiting:
            item = waiting.pop()
            if isinstance(item, dict):
                if "index" in item:
                    return {"texCoord": item["texCoord"]} if item.get("texCoord") else {}
                waiting += [value for key, value in item.items() if key != "extras"]
        return {}

    def _bytes_of(self, number: int) -> bytes | None:
        item = self.json["images"][number]
        if "bufferView" in item:
            view = self.json["bufferViews"][item["bufferView"]]
            start = view.get("byteOffset", 0)
            if self._is_binary and view["buffer"] == 0:
                return bytes(self._binary[start : start + view["byteLength"]])
            data = self._at(self.json["buffers"][view["buffer"]].get("uri", ""))
            return None if data is None else data[start : start + view["byteLength"]]
        return self._at(item.get("uri", ""))

    def _at(self, uri: str) -> bytes | None:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        path = self._path.parent / unquote(uri)
        return path.read_bytes() if uri and path.is_file() else None

    def _pad(self) -> None:
        self._binary += b"\0" * (-len(self._binary) % 4)
