"""Layouts of maps: which file holds which property of a material, in which channel, and in which form.

Add-on and command line read the same layouts: the presets below, and those of an artist, which are TOML or JSON files in
the same words (docs/export.md describes them).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CauseAndCure
from .map_names import PatternError, check_pattern
from .map_presets import DEFAULT_PATTERN, PRESETS

COLOR, NUMBER, VECTOR, NORMAL = "color", "number", "vector", "normal"
OPENGL, DIRECTX = "opengl", "directx"
OCCLUSION = "occlusion"
LARGEST_FILE = 16384  # pixels in a row
GEOMETRY = ("height", "curvature", "thickness")


class LayoutError(CauseAndCure):
    """A layout that cannot be used."""


@dataclass(frozen=True)
class Signal:
    """A property of a material. input: the identifier of the Principled BSDF's input ("Occlusion": that of glTF's node; those of
    GEOMETRY: of PBRfit's own group); kind: COLOR (three linear values), NUMBER, VECTOR (three numbers) or NORMAL (encoded: 0.5 is
    0); neutral: the value of each channel where the material says nothing."""

    input: str
    kind: str = NUMBER
    neutral: float = 0.0


SIGNALS: dict[str, Signal] = {
    "base_color": Signal("Base Color", COLOR, 0.8),
    "alpha": Signal("Alpha", neutral=1.0),
    OCCLUSION: Signal("Occlusion", neutral=1.0),
    "roughness": Signal("Roughness", neutral=0.5),
    "metallic": Signal("Metallic"),
    "normal": Signal("Normal", NORMAL),
    "emission": Signal("Emission Color", COLOR),
    "ior": Signal("IOR", neutral=1.5),
    "specular": Signal("Specular IOR Level", neutral=0.5),
    "specular_tint": Signal("Specular Tint", COLOR, 1.0),
    "diffuse_roughness": Signal("Diffuse Roughness"),
    "anisotropy": Signal("Anisotropic"),
    "anisotropy_rotation": Signal("Anisotropic Rotation"),
    "transmission": Signal("Transmission Weight"),
    "coat": Signal("Coat Weight"),
    "coat_roughness": Signal("Coat Roughness", neutral=0.03),
    "coat_ior": Signal("Coat IOR", neutral=1.5),
    "coat_tint": Signal("Coat Tint", COLOR, 1.0),
    "coat_normal": Signal("Coat Normal", NORMAL),
    "sheen": Signal("Sheen Weight"),
    "sheen_roughness": Signal("Sheen Roughness", neutral=0.5),
    "sheen_tint": Signal("Sheen Tint", COLOR, 1.0),
    "subsurface": Signal("Subsurface Weight"),
    "subsurface_radius": Signal("Subsurface Radius", VECTOR),
    "subsurface_scale": Signal("Subsurface Scale"),
    "subsurface_ior": Signal("Subsurface IOR", neutral=1.4),
    "subsurface_anisotropy": Signal("Subsurface Anisotropy"),
    "thin_film_thickness": Signal("Thin Film Thickness"),
    "thin_film_ior": Signal("Thin Film IOR", neutral=1.33),
    "height": Signal("Height", neutral=0.5),
    "curvature": Signal("Curvature", neutral=0.5),
    "thickness": Signal("Thickness", neutral=1.0),
}
"""What maps can hold, by the names that layouts use. Occlusion is openness: 1 where nothing occludes."""


@dataclass(frozen=True)
class Format:
    """A type of image files. suffixes: the ending of a name; bits: of a channel, the usual first; alpha: whether it holds an
    alpha that is not how opaque the color is."""

    suffix: str
    bits: tuple[int, ...]
    alpha: bool


FORMATS = {
    "png": Format(".png", (8, 16), True),
    "jpeg": Format(".jpg", (8,), False),
    "webp": Format(".webp", (8,), False),
    "exr": Format(".exr", (16, 32), True),
    "tiff": Format(".tif", (8, 16), True),
}
"""The types of files, by the names that layouts use. 16 bits of EXR are half floats, 32 are floats."""
FLOATS = "exr"


@dataclass(frozen=True)
class Channel:
    """What one channel holds: a number of the material, perhaps 1 minus that, or the same value everywhere ("")."""

    signal: str = ""
    inverted: bool = False
    value: float = 0.0


@dataclass(frozen=True)
class MapFile:
    """One file of a layout. map: its name; whole: the color, vector or normal in red, green and blue; channels: else the one
    (gray) or three numbers there; alpha: None if there is none; format, bits: how it is written."""

    map: str
    whole: str = ""
    channels: tuple[Channel, ...] = ()
    alpha: Channel | None = None
    format: str = "png"
    bits: int = 8

    @property
    def signals(self) -> list[str]:
        """What it holds, without what is the same everywhere."""
        found = [self.whole, *(channel.signal for channel in self.channels), self.alpha.signal if self.alpha else ""]
        return [name for name in found if name]

    @property
    def is_color(self) -> bool:
        """Whether red, green and blue are a color: sRGB, except in files of floats, which are linear."""
        return bool(self.whole) and SIGNALS[self.whole].kind == COLOR

    @property
    def is_opacity(self) -> bool:
        """Whether the alpha says how opaque the color is; it is left out where everything is opaque."""
        return self.is_color and self.alpha == Channel("alpha")

    @property
    def suffix(self) -> str:
        """The ending of the file's name."""
        return FORMATS[self.format].suffix


@dataclass(frozen=True)
class Layout:
    """A set of files. key: the name that chooses it; title, about: for the artist; normal: OPENGL (green points up) or
    DIRECTX (down); pattern: of the names of files; size: their
    width and height in pixels, (0, 0): as the maps are."""

    key: str
    title: str
    about: str
    normal: str
    pattern: str
    files: tuple[MapFile, ...]
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class OutputOptions:
    """How maps are written, where that is not left to the layout ("" and 0). quality: of JPEG and WebP, 1 to 100; dither:
    whether rounding to 8 bits is spread as noise; size: width and height of the files in pixels."""

    pattern: str = ""
    format: str = ""
    bits: int = 0
    quality: int = 90
    dither: bool = False
    size: Sequence[int] = (0, 0)


def read_layout(values: Mapping[str, Any], key: str) -> Layout:
    """The layout that the values of a file say. Raises LayoutError, which names what is wrong."""
    return _LayoutReader(key).layout(values)


def load_layout(path: Path) -> Layout:
    """The layout in a TOML or JSON file. Raises LayoutError."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors may begin a file with a mark
        values = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise LayoutError(f"The layout {path} cannot be read: {error.strerror}.", "Check its path.") from error
    except ValueError as error:  # also of text that is not UTF-8
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise LayoutError(f"The layout {path} is not {kind}: {error}.", "Correct that place in the file.") from error
    if not isinstance(values, dict):
        raise LayoutError(f"The layout {path} is a list.", "Begin it with {, as docs/export.md shows.")
    return read_layout(values, path.stem)


def find_layout(name: str) -> Layout:
    """The preset of this name, or the layout in the file at this path. Raises LayoutError."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    if Path(name).suffix.lower() in (".toml", ".json"):
        return load_layout(Path(name))
    raise LayoutError(
        f'There is no layout "{name}".', f"Give one of {', '.join(LAYOUTS)}, or the path of a .toml or .json file."
    )


def as_toml(layout: Layout, title: str) -> str:
    """The text of a layout file that says the same, under another title."""
    lines = [
        "# A layout of PBRfit: what each file holds. docs/export.md explains the words.",
        f"title = {_quoted(title)}",
        f"about = {_quoted(layout.about)}",
        f"normal = {_quoted(layout.normal)}  # opengl: +Y; directx: -Y",
        f"pattern = {_quoted(layout.pattern)}",
    ]
    for item in layout.files:
        lines += ["", "[[files]]", f"map = {_quoted(item.map)}"]
        if item.whole:
            lines.append(f"color = {_quoted(item.whole)}")
        names = ("gray",) if len(item.channels) == 1 else ("red", "green", "blue")
        lines += [f"{name} = {_words(channel)}" for name, channel in zip(names, item.channels, strict=False)]
        if item.alpha is not None:
            lines.append(f"alpha = {_words(item.alpha)}")
        lines += [f"format = {_quoted(item.format)}", f"bits = {item.bits}"]
    return "\n".join(lines) + "\n"


def _words(channel: Channel) -> str:
    if not channel.signal:
        return repr(channel.value)
    return _quoted(f"1 - {channel.signal}" if channel.inverted else channel.signal)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def with_options(layout: Layout, options: OutputOptions) -> Layout:
    """A layout with the pattern, format and bits that were chosen. Raises LayoutError if they do not go together."""
    if options.format and options.format not in FORMATS:
        raise LayoutError(f'There is no format "{options.format}".', f"Use one of {', '.join(FORMATS)}.")
    files = tuple(_with_format(item, options.format or item.format, options.bits) for item in layout.files)
    pattern = options.pattern or layout.pattern
    _check_pattern(pattern)
    return Layout(layout.key, layout.title, layout.about, layout.normal, pattern, files, _checked_size(options.size))


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    width, height = size
    if (width, height) != (0, 0) and not all(1 <= edge <= LARGEST_FILE for edge in (width, height)):
        raise LayoutError(
            f"The files cannot be {width} x {height} pixels large.",
            f"Give both a width and a height, from 1 to {LARGEST_FILE}.",
        )
    return width, height


def _with_format(item: MapFile, name: str, bits: int) -> MapFile:
    known = FORMATS[name]
    if bits and bits not in known.bits:
        allowed = " or ".join(map(str, known.bits))
        raise LayoutError(
            f"A {name.upper()} file does not have {bits} bits a channel.",
            f"Use {allowed} bits" + (", or png, tiff or exr." if name in ("jpeg", "webp") else ", or another format."),
        )
    found = bits or (item.bits if item.bits in known.bits and name == item.format else known.bits[0])
    if item.alpha is not None and not known.alpha and not item.is_opacity:
        raise LayoutError(
            f"{name.upper()} has no alpha that would keep what the layout has there in the map {item.map}.",
            "Use png, tiff or exr, or a layout without alpha.",
        )
    return MapFile(item.map, item.whole, item.channels, item.alpha, name, found)


def _check_pattern(pattern: str) -> None:
    try:
        check_pattern(pattern)
    except PatternError as error:
        raise LayoutError(error.cause, error.cure) from error


class _LayoutReader:
    """Reads one layout, and says where something is wrong."""

    def __init__(self, key: str) -> None:
        self._key = key

    def layout(self, values: Mapping[str, Any]) -> Layout:
        self._only(values, ("title", "about", "normal", "pattern", "format", "bits", "files"), "it")
        normal = self._text(values, "normal", OPENGL)
        if normal not in (OPENGL, DIRECTX):
            raise self._wrong(f'normal is "{normal}"', f'Write "{OPENGL}" (+Y) or "{DIRECTX}" (-Y).')
        pattern = self._text(values, "pattern", DEFAULT_PATTERN)
        _check_pattern(pattern)
        entries = values.get("files")
        if not isinstance(entries, list | tuple) or not entries:
            raise self._wrong("it has no files", "Add at least one [[files]].")
        usual = (self._text(values, "format", "png"), values.get("bits", 0))
        files = tuple(self._file(entry, *usual) for entry in entries)
        names = [item.map.casefold() for item in files]
        for name in names:
            if names.count(name) > 1:
                raise self._wrong(f'two files are the map "{name}"', "Give each a name of its own.")
        title = self._text(values, "title", self._key)
        return Layout(self._key, title, self._text(values, "about", ""), normal, pattern, files)

    def _file(self, entry: Any, format_name: str, bits: Any) -> MapFile:
        if not isinstance(entry, Mapping):
            raise self._wrong("a file is not a table", "Write each as [[files]] with map and what it holds.")
        name = self._text(entry, "map", "")
        if not name:
            raise self._wrong("a file has no name", 'Write map = "..." in each [[files]].')
        self._only(entry, ("map", "color", "gray", "red", "green", "blue", "alpha", "format", "bits"), f'"{name}"')
        format_name = self._text(entry, "format", format_name)
        if format_name not in FORMATS:
            raise self._wrong(f'the format of "{name}" is "{format_name}"', f"Use one of {', '.join(FORMATS)}.")
        bits = entry.get("bits", bits)
        if bits and bits not in FORMATS[format_name].bits:
            allowed = " or ".join(map(str, FORMATS[format_name].bits))
            raise self._wrong(f'"{name}" has {bits!r} bits', f"A {format_name} file has {allowed} bits.")
        alpha = self._channel(entry["alpha"], name) if "alpha" in entry else None
        whole, channels = self._red_green_blue(entry, name)
        item = MapFile(name, whole, channels, alpha, format_name, bits or FORMATS[format_name].bits[0])
        if not item.signals:
            raise self._wrong(f'"{name}" holds nothing of the material', f"Use some of {', '.join(SIGNALS)}.")
        return _with_format(item, item.format, item.bits)

    def _red_green_blue(self, entry: Mapping[str, Any], name: str) -> tuple[str, tuple[Channel, ...]]:
        given = [key for key in ("color", "gray", "red", "green", "blue") if key in entry]
        if given == ["color"]:
            whole = self._text(entry, "color", "")
            if whole not in SIGNALS or SIGNALS[whole].kind == NUMBER:
                there = [key for key, signal in SIGNALS.items() if signal.kind != NUMBER]
                raise self._wrong(f'the color of "{name}" is "{whole}"', f"Use one of {', '.join(there)}.")
            return whole, ()
        if given == ["gray"]:
            return "", (self._channel(entry["gray"], name),)
        if given and not {"color", "gray"} & set(given):
            return "", tuple(self._channel(entry.get(key, 0.0), name) for key in ("red", "green", "blue"))
        raise self._wrong(
            f'"{name}" has {" and ".join(given) or "no channels"}', "Give it color, or gray, or red, green and blue."
        )

    def _channel(self, value: Any, name: str) -> Channel:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not 0.0 <= value <= 1.0:
                raise self._wrong(f'a channel of "{name}" is {value}', "A number lies between 0 and 1.")
            return Channel(value=float(value))
        found = re.fullmatch(r"(1(?:\.0*)?\s*-\s*)?(\w+)", str(value).strip())
        signal = found[2] if found else ""
        if found is None or signal not in SIGNALS or SIGNALS[signal].kind != NUMBER:
            there = [key for key, known in SIGNALS.items() if known.kind == NUMBER]
            raise self._wrong(
                f'a channel of "{name}" is {value!r}',
                f'Use a number from 0 to 1, a property such as "roughness", or "1 - roughness"; there are {", ".join(there)}.',
            )
        return Channel(signal, found[1] is not None)

    def _text(self, values: Mapping[str, Any], key: str, otherwise: str) -> str:
        value = values.get(key, otherwise)
        if not isinstance(value, str):
            raise self._wrong(f"{key} is {value!r}", "Write it in quotation marks.")
        return value

    def _only(self, values: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
        for key in values:
            if key not in known:
                raise self._wrong(f'{what} has "{key}"', f"Known are {', '.join(known)}.")

    def _wrong(self, cause: str, cure: str) -> LayoutError:
        return LayoutError(f'The layout "{self._key}" cannot be used: {cause}.', cure)


LAYOUTS: dict[str, Layout] = {key: read_layout(values, key) for key, values in PRESETS.items()}
"""The presets, by the names that choose them."""
