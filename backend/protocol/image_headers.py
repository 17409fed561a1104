"""Which type of image a file is and, where that is quick to read, its size: without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 1 << 16
END_OF_PNG = b"IEND\xaeB`\x82"
SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
    "OpenEXR": (b"v/1\x01",),
    "Radiance HDR": (b"#?RADIANCE", b"#?RGBE"),
    "BMP": (b"BM",),
}
LINEAR = {"OpenEXR", "Radiance HDR"}
"""Types whose colors are linear."""
PNG_ALPHA = {0: False, 2: False, 4: True, 6: True}
"""By type of color; of palettes it is not known."""
START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class ImageHeader:
    """kind: the type of the file; width, height: in pixels, 0 where the head does not tell quickly; has_alpha: None where it does
    not tell that."""

    kind: str
    width: int = 0
    height: int = 0
    has_alpha: bool | None = None

    @property
    def is_linear(self) -> bool:
        """Whether its colors are linear, not sRGB."""
        return self.kind in LINEAR


def image_header(head: bytes, end: bytes, suffix: str) -> ImageHeader | None:
    """What a file says of itself; None for what Blender does not read, or where a PNG ends too early.

    head: its first HEAD_BYTES; end: its last 8 or more bytes; suffix: of its name, which alone tells a Targa.
    """
    kind = next((name for name, starts in SIGNATURES.items() if head.startswith(starts)), "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WebP"
    if not kind and suffix.lower() == ".tga" and len(head) > 18:
        return ImageHeader("Targa", *struct.unpack("<HH", head[12:16]))
    if kind == "PNG":
        whole = len(head) > 26 and END_OF_PNG in end
        width, height, _, color = struct.unpack(">IIBB", head[16:26]) if whole else (0, 0, 0, 0)
        return ImageHeader(kind, width, height, PNG_ALPHA.get(color)) if whole else None
    if kind == "JPEG":
        return ImageHeader(kind, *_jpeg_size(head), has_alpha=False)
    return ImageHeader(kind) if kind else None


def _jpeg_size(head: bytes) -> tuple[int, int]:
    place = 2
    while place + 9 < len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], struct.unpack(">H", head[place + 2 : place + 4])[0]
        if marker in START_OF_FRAME:
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return width, height
        place += 2 + int(length)
    return 0, 0
