"""The structure of a JPEG file, and whether its compressed data fit it.

Decoders return an image for half a JPEG, and keep what libjpeg warns of to themselves. A JPEG has
no checksum: damage shows where its compressed data end too early, or are too many for the image.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re

from PIL import Image

from pspnet_jax.data import pillow

SIGNATURE = b'\xff\xd8'
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of frame headers
_SCAN, _END, _METADATA, _INTERVAL = 0xDA, 0xD9, 0xE1, 0xDD
_MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')  # none of which occurs in compressed data
_NOT_DECODED = {*range(0xE0, 0xF0), 0xFE}  # segments of applications, and comments
_MOST_SEGMENTS, _MOST_SCANS = 10_000, 100  # common are 10 and 1, or 10 if progressive
_SEQUENTIAL, _PROGRESSIVE = (0, 1), 2
# What libjpeg fetches ahead. With the usual codes no block ends within, wherever reading begins.
_FILLER = b'\xdb\x6d\xb6' * 3
_RESTART = re.compile(rb'\xff([\xd0-\xd7])')


@dataclasses.dataclass(frozen=True)
class Jpeg:
  """What the headers of a JPEG say.

  Attributes:
    width, height: in pixels.
    depth: bits a sample.
    process: number of the frame's kind: 0 and 1 sequential, 2 progressive, others are rare.
    components: horizontal and vertical sampling factors by the component's id.
    scans: of each scan, the ids of its components, the first and the last coefficient, and how many
      of their bits are still to come.
    interval: blocks, or groups of blocks, between restart markers; 0 without any.
    restarts: the restart markers of the last scan, a byte each.
    has_metadata: whether there may be EXIF or XMP data.
    body: the file without what is not decoded, up to the end of its last scan.
  """

  width: int
  height: int
  depth: int
  process: int
  components: dict[int, tuple[int, int]]
  scans: tuple[tuple[bytes, int, int, int], ...]
  interval: int
  restarts: bytes
  has_metadata: bool
  body: bytes

  @property
  def is_common(self) -> bool:
    """Whether it is of a kind that all decoders read."""
    return self.process in (*_SEQUENTIAL, _PROGRESSIVE)

  def holds_enough(self, size: int) -> bool:
    """Whether so many bytes can encode so many pixels: each 8×8 block takes a bit or more."""
    across, down = self._sampling()
    blocks = max(
      math.ceil(self.width * h / across / 8) * math.ceil(self.height * v / down / 8)
      for h, v in self.components.values()
    )
    return blocks <= 8 * size

  def is_complete(self) -> bool:
    """Whether the scans bring all bits of all coefficients of all components."""
    last = 63 if self.process == _PROGRESSIVE else 0  # sequential scans bring whole blocks
    to_come = {(c, k): 1 for c in self.components for k in range(last + 1)}
    for components, first, end, bits in self.scans:
      for component in components:
        for k in range(first, min(end, last) + 1) if last else (0,):
          to_come[component, k] = bits if last else 0
    return not any(to_come.values())

  def scan_fits(self) -> bool:
    """Whether the compressed data end where the image does, to within a few blocks of 8×8 pixels.

    Pillow is given all but the last byte, which must not be enough, and then the last with a few
    more, which must be. It scales by an eighth meanwhile, so that this takes half the time of
    decoding. Damage between two restart markers is not seen if the markers are all there; and where
    there are several scans nothing is known.
    """
    if self.process not in _SEQUENTIAL or len(self.scans) > 1:
      return True
    if self.restarts != bytes(0xD0 + i % 8 for i in range(self._restart_count())):
      return False
    file = io.BytesIO(self.body + _FILLER)
    with pillow.without_its_limit():
      try:
        image = Image.open(file, formats=('JPEG',))
        image.decodermaxblock = len(self.body) - 1
        image.draft(None, (1, 1))
        image.load()
      except Exception:  # a hostile file makes it raise anything
        return False
    return file.tell() >= len(self.body)

  def _sampling(self) -> tuple[int, int]:
    factors = self.components.values()
    return max(h for h, _ in factors), max(v for _, v in factors)

  def _restart_count(self) -> int:
    if not self.interval:
      return 0
    across, down = self._sampling() if len(self.components) > 1 else (1, 1)  # scan of one: blocks
    groups = math.ceil(self.width / 8 / across) * math.ceil(self.height / 8 / down)
    return (groups - 1) // self.interval


def parse(data: bytes) -> Jpeg | None:
  """Reads the headers; None if the file ends before the image does, or has no sense."""
  kept, has_metadata = [SIGNATURE], False
  scans: list[tuple[bytes, int, int, int]] = []
  components: dict[int, tuple[int, int]] = {}
  depth = height = width = process = interval = 0
  restarts = b''
  at = 2
  for _ in range(_MOST_SEGMENTS):
    while data[at : at + 2] == b'\xff\xff':  # markers may be preceded by any number of these
      at += 1
    marker = data[at + 1] if data[at : at + 1] == b'\xff' and at + 1 < len(data) else 0
    if marker == _END and scans:
      return Jpeg(
        *(width, height, depth, process, components, tuple(scans)),
        *(interval, restarts, has_metadata, b''.join(kept)),
      )
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    content = data[at + 4 : end]
    if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or end > len(data) or end < at + 4:
      return None
    if marker in _FRAMES:
      count = content[5] if len(content) > 5 else 0
      if components or not count or len(content) < 6 + 3 * count:
        return None
      depth, process = content[0], marker - 0xC0
      height, width = int.from_bytes(content[1:3], 'big'), int.from_bytes(content[3:5], 'big')
      for i in range(6, 6 + 3 * count, 3):
        components[content[i]] = content[i + 1] >> 4, content[i + 1] & 15
      if not (height and width and all(h and v for h, v in components.values())):
        return None
    elif marker == _SCAN:
      count = content[0] if content else 0
      ids = content[1 : 1 + 2 * count : 2]
      found = _MARKER.search(data, end)
      if found is None or len(content) < 4 + 2 * count or not set(ids) <= components.keys():
        return None
      first, last, bits = content[1 + 2 * count : 4 + 2 * count]
      scans.append((ids, first, last, bits & 15))
      if len(scans) > _MOST_SCANS:
        return None
      start, end = end, found.start()
      restarts = b''.join(_RESTART.findall(data, start, end))
    elif marker == _INTERVAL:
      interval = int.from_bytes(content[:2], 'big')
    if marker not in _NOT_DECODED:
      kept.append(data[at:end])
    has_metadata |= marker == _METADATA
    at = end
  return None
