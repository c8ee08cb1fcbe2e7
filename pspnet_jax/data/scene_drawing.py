"""Draws one context scene: sky, hills, buildings and ground, vehicles, and the far evidence.

Positions are fractions of the image's width and height, and every draw but the last (the grain of
the pixels) has a fixed size, so a scene is the same picture at any resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np

CLASS_NAMES = (
  'sky',
  'hill',
  'ground',
  'bush',
  'building',
  'skyscraper',
  'sign',
  'water',
  'road',
  'boat',
  'car',
)
VEHICLE_OF = {'water': 'boat', 'road': 'car'}  # what a vehicle is, by the evidence at the far edge
# The evidence lies left of the one, the vehicles right of the other, and then the scene may be
# mirrored. More than half the width is between them: at 193 pixels, more than ResNet-10 sees.
EVIDENCE_RIGHT, VEHICLE_LEFT = 0.17, 0.73
_FAR = (VEHICLE_LEFT + 0.005, 0.99)
# With evidence at both edges, half as wide, a vehicle lies in its own half, near enough to be seen
# by a ResNet-10: whether a network makes use of what it could see is then the question.
_NEAR = (EVIDENCE_RIGHT / 2 + 0.035, 0.49)

_SKYSCRAPER_HEIGHT = (0.38, 0.48)
_BUILDING_HEIGHT = (0.13, 0.20)
_PAINT, _GLASS, _SHADOW = (  # each [3, 1, 1]
  np.array(rgb, np.float32).reshape(3, 1, 1)
  for rgb in ((222, 220, 208), (60, 74, 88), (58, 54, 50))
)

# Colours, by channel: what broadcasts to [3, h, w], at the columns x [w] and the rows y [h].
_RGB: TypeAlias = tuple[int, int, int]
Polygon: TypeAlias = np.ndarray | Sequence[tuple[float, float]]  # corners (x, y)
Shader: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Painting:
  """An image and its label, painted together, polygon by polygon."""

  def __init__(self, size: tuple[int, int]) -> None:
    self.height, self.width = size
    self.image = np.zeros((3, *size), np.float32)
    self.label = np.zeros(size, np.uint8)
    self.mirrored = False  # whether x counts from the right edge

  def paint(self, polygon: Polygon, shader: Shader, name: str | None = None) -> None:
    """Fills a polygon; without a name it leaves the label as it is."""
    corners = np.asarray(polygon) * (-1, 1) + (1, 0) if self.mirrored else np.asarray(polygon)
    corners = corners * (self.width, self.height) - 0.5  # OpenCV's pixel centres are whole numbers
    left, top = (max(math.floor(low), 0) for low in corners.min(0))
    right, bottom = (math.ceil(high) + 1 for high in corners.max(0))
    right, bottom = min(right, self.width), min(bottom, self.height)
    if right <= left or bottom <= top:
      return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    # shift=4: the corners come with four fractional bits.
    corners = np.rint((corners - (left, top)) * 16).astype(np.int32)
    mask = cv2.fillPoly(mask, [corners], 1, shift=4).view(bool)
    x = np.arange(left + 0.5, right, dtype=np.float32) / self.width
    x = 1 - x if self.mirrored else x
    y = np.arange(top + 0.5, bottom, dtype=np.float32) / self.height
    np.copyto(self.image[:, top:bottom, left:right], shader(x, y), where=mask)
    if name is not None:
      self.label[top:bottom, left:right][mask] = CLASS_NAMES.index(name)


def draw_scene(
  rng: np.random.Generator,
  evidence_rng: np.random.Generator,
  evidence: Sequence[str],
  size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
  """One scene: image uint8 [h, w, 3] and label uint8 [h, w].

  Two scenes that differ only in `evidence` are the same pixel for pixel outside of it, and their
  labels differ only there and on the vehicles.

  Args:
    rng: draws all but the evidence, and nothing of that depends on which evidence it is.
    evidence_rng: draws the evidence.
    evidence: 'water' or 'road' along the left edge and, if two are given, along the right one;
      each tells what the vehicles are, of the whole scene or of its half. A scene may be mirrored.
    size: (height, width) in pixels.
  """
  canvas = Painting(size)
  ground = rng.uniform(0.54, 0.57)
  _draw_sky(canvas, rng)
  _draw_hills(canvas, rng, ground)
  _draw_ground(canvas, rng, ground)
  for side, kind in enumerate(evidence):
    canvas.mirrored = side == 1
    _draw_evidence(canvas, evidence_rng, kind, ground + 0.06, 1 / len(evidence))
  canvas.mirrored = False
  _draw_structures(canvas, rng, ground)
  _draw_bushes(canvas, rng, ground)
  for side, kind in enumerate(evidence):
    canvas.mirrored = side == 1
    _draw_vehicles(canvas, rng, VEHICLE_OF[kind], _FAR if len(evidence) == 1 else _NEAR)
  mirrored = rng.random() < 0.5
  image = _expose(canvas.image, rng)
  if mirrored:
    return cv2.flip(image, 1), cv2.flip(canvas.label, 1)
  return image, canvas.label


def _draw_sky(canvas: Painting, rng: np.random.Generator) -> None:
  zenith = _colour(rng, (70, 120, 190), (130, 165, 210))
  horizon = _colour(rng, (190, 205, 220), (232, 222, 214))
  broad, fine, cover = _noise(rng, 5, 4), _noise(rng, 14, 9), rng.uniform(-0.4, 0.3)

  def shader(x, y):
    clouds = np.clip(0.5 * _field(broad, x, y) + 0.3 * _field(fine, x, y) + cover, 0, 0.75)
    sky = zenith + (horizon - zenith) * np.minimum(y / 0.5, 1)[:, None]  # [3, h, 1]
    return sky + (242 - sky) * clouds  # [3, h, w]

  canvas.paint(_rectangle(-0.1, -0.1, 1.1, 0.62), shader, 'sky')


def _draw_hills(canvas: Painting, rng: np.random.Generator, ground: float) -> None:
  far = _colour(rng, (96, 122, 124), (120, 140, 140))
  near = _colour(rng, (66, 98, 58), (98, 122, 66))
  for colour, rise, contrast in ((far, 0.12, 0.04), (near, 0.06, 0.12)):
    ridge = cv2.resize(_noise(rng, 1, 7), (41, 1), interpolation=cv2.INTER_CUBIC)[0]
    outline = np.stack([np.linspace(-0.05, 1.05, 41), ground - rise - 0.022 * ridge], 1)
    outline = np.concatenate([outline, [(1.05, 0.62), (-0.05, 0.62)]])
    canvas.paint(outline, _mottled(colour, (contrast, _noise(rng, 14, 50))), 'hill')


def _draw_ground(canvas: Painting, rng: np.random.Generator, ground: float) -> None:
  colour = _colour(rng, (150, 140, 112), (188, 176, 150))
  shader = _mottled(colour, (0.05, _noise(rng, 9, 6)), (0.04, _noise(rng, 48, 48)))
  canvas.paint(_rectangle(-0.1, ground, 1.1, 1.1), shader, 'ground')


def _draw_evidence(
  canvas: Painting, rng: np.random.Generator, evidence: str, top: float, breadth: float
) -> None:
  """Water or road along the left edge, in the same outline."""
  at_top, at_bottom = rng.uniform(0.11, 0.13), rng.uniform(0.14, EVIDENCE_RIGHT - 0.005)
  at_top, at_bottom = at_top * breadth, at_bottom * breadth
  outline = [(-0.1, top), (at_top, top), (at_bottom, 1), (at_bottom, 1.1), (-0.1, 1.1)]
  if evidence == 'water':
    colour = _colour(rng, (48, 92, 122), (84, 132, 150))
    ripples = np.maximum(_noise(rng, 26, 5), -0.5)
    canvas.paint(outline, _mottled(colour, (0.2, ripples)), 'water')
    return
  colour = _colour(rng, (84, 84, 88), (112, 110, 110))
  canvas.paint(outline, _mottled(colour, (0.05, _noise(rng, 40, 20))), 'road')
  for start in np.arange(top + rng.uniform(0, 0.1), 1, 0.13):  # dashes, wider towards the viewer
    near, far = (
      (
        0.55 * (at_top + (at_bottom - at_top) * depth),
        0.006 + 0.01 * depth,
        top + (1 - top) * depth,
      )
      for depth in ((start + 0.07 - top) / (1 - top), (start - top) / (1 - top))
    )
    sides = [(x + side * half, y) for x, half, y in (near, far) for side in (-1, 1)]
    canvas.paint([sides[0], sides[1], sides[3], sides[2]], _flat(_PAINT))


def _draw_structures(canvas: Painting, rng: np.random.Generator, ground: float) -> None:
  """Three structures with the same walls; only how far up they go makes one a skyscraper."""
  for slot in rng.permutation(4)[:3]:
    width = rng.uniform(0.17, 0.22)
    left = 0.02 + 0.24 * slot + rng.uniform(0, 0.235 - width)
    base = ground + rng.uniform(0.015, 0.045)
    tall = rng.random() < 0.5
    height = rng.uniform(*(_SKYSCRAPER_HEIGHT if tall else _BUILDING_HEIGHT))
    wall = _colour(rng, (120, 104, 96), (178, 166, 156))
    name = 'skyscraper' if tall else 'building'
    canvas.paint(
      _rectangle(left, base - height, left + width, base), _windows(rng, wall, left, base), name
    )
    _draw_sign(canvas, rng, wall, left + rng.uniform(0.02, width - 0.11), base - 0.025)


def _windows(rng: np.random.Generator, wall: np.ndarray, left: float, base: float) -> Shader:
  """Windows counted from the foot of the wall: its lower part does not tell how high it goes."""
  glass = _colour(rng, (52, 62, 78), (96, 108, 122)) * rng.uniform(0.8, 1.3, (12, 8))
  pitch_x, pitch_y = rng.uniform(0.036, 0.046), rng.uniform(0.042, 0.055)

  def shader(x, y):
    column, row = (x - left) / pitch_x, (base - y) / pitch_y
    panes = glass[:, row.astype(int) % 12][:, :, column.astype(int) % 8]
    opening = (abs(row % 1 - 0.55) < 0.27)[:, None] & (abs(column % 1 - 0.5) < 0.26)
    return np.where(opening, panes, wall)

  return shader


def _draw_sign(
  canvas: Painting, rng: np.random.Generator, wall: np.ndarray, left: float, base: float
) -> None:
  """A panel in the colour of its wall, told from it by the lines of writing."""
  panel, writing = wall * rng.uniform(1.02, 1.1), wall * rng.uniform(0.6, 0.7)
  top = base - 0.078

  def shader(x, y):
    line = (y - top) / 0.026
    written = (abs(line % 1 - 0.5) < 0.22)[:, None] & (abs(x - left - 0.045) < 0.034)
    return np.where(written, writing, panel)

  canvas.paint(_rectangle(left, top, left + 0.09, base), shader, 'sign')


def _draw_bushes(canvas: Painting, rng: np.random.Generator, ground: float) -> None:
  """Clumps in the green of the hills, with larger leaves."""
  for _ in range(3):
    x, y = rng.uniform(0.28, 0.96), ground + rng.uniform(0.05, 0.075)
    radius = rng.uniform(0.05, 0.065) * np.array([1, 0.8])
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    lobes = 1 + 0.12 * np.sin(5 * angle + rng.uniform(0, 6))
    outline = (x, y) + radius * np.stack([np.cos(angle), np.sin(angle)], 1) * lobes[:, None]
    outline[:, 1] = np.minimum(outline[:, 1], y + 0.6 * radius[1])
    colour = _colour(rng, (62, 92, 54), (94, 118, 64))
    canvas.paint(outline, _mottled(colour, (0.25, _noise(rng, 8, 8))), 'bush')


def _draw_vehicles(
  canvas: Painting, rng: np.random.Generator, name: str, between: tuple[float, float]
) -> None:
  """Two hulls with a cabin, the one behind the other: boats or cars, nothing in them tells."""
  for base in (rng.uniform(0.80, 0.82), rng.uniform(0.95, 0.97)):
    length, height = rng.uniform(0.19, 0.23), rng.uniform(0.10, 0.125)
    left = rng.uniform(between[0], between[1] - length)
    colour = rng.uniform(40, 235) + rng.uniform(-40, 40, (3, 1, 1))
    facing = rng.random() < 0.5
    rake, cabin = rng.uniform(0.02, 0.04), rng.uniform(0.24, 0.34)

    def place(points, left=left, base=base, length=length, height=height, facing=facing):
      x, y = np.array(points).T
      return np.stack([left + length * (1 - x if facing else x), base - height * y], 1)

    shadow = [(0.05, 0.05), (0.95, 0.05), (0.92, -0.07), (0.08, -0.07)]
    canvas.paint(place(shadow), _flat(_SHADOW))
    light, glass = rng.uniform(1.1, 1.3), rng.uniform(0.8, 1.2) * _GLASS
    roof = [(-0.1, 0), (0.04, 0.88), (0.08, 1), (0.28, 1), (0.34, 0.88), (0.48, 0)]
    panes = [(-0.02, 0.14), (0.07, 0.82), (0.13, 0.82), (0.13, 0.14)]
    screen = [(0.18, 0.14), (0.18, 0.82), (0.28, 0.82), (0.38, 0.14)]
    hull = [(0, 0.58), (1, 0.53), (0.985, 0.32), (1 - 3 * rake, 0), (rake + 0.03, 0), (0.01, 0.3)]
    trim = [(0.01, 0.4), (0.985, 0.4), (0.97, 0.28), (0.02, 0.28)]
    for points, shade in ((roof, colour * light), (panes, glass), (screen, glass)):
      above = [(cabin + x, 0.5 + 0.5 * y) for x, y in points]  # the hull's edge is at 0.5
      canvas.paint(place(above), _flat(shade), name)
    canvas.paint(place(hull), _flat(colour), name)
    canvas.paint(place(trim), _flat(colour * 0.7), name)


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """[3, h, w] in the light of the day, with a lens's blur and a sensor's grain: uint8 [h, w, 3]."""
  light = rng.uniform(0.82, 1.12) * (1 + rng.uniform(-0.06, 0.06, 3))
  grain = rng.integers(-6, 7, image.shape, np.int8)
  channels = [
    cv2.add(cv2.GaussianBlur(channel, (3, 3), 0.6) * light, grain, dtype=cv2.CV_8U)
    for channel, light, grain in zip(image, light.astype(np.float32), grain, strict=True)
  ]
  return cv2.merge(channels)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
  return rng.standard_normal((rows, columns), np.float32)


def _field(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """A small grid of numbers made a smooth field [h, w]."""
  return cv2.resize(grid, (len(x), len(y)), interpolation=cv2.INTER_LINEAR)


def _flat(colour: np.ndarray) -> Shader:
  return lambda x, y: colour


def _mottled(colour: np.ndarray, *layers: tuple[float, np.ndarray]) -> Shader:
  """A colour made lighter and darker by layers of (contrast, noise)."""
  return lambda x, y: colour * (1 + sum(c * _field(grid, x, y) for c, grid in layers))


def _colour(rng: np.random.Generator, low: _RGB, high: _RGB) -> np.ndarray:
  """A colour [3, 1, 1] between two: the channels move together, but for a little."""
  colour = np.array(low) + np.subtract(high, low) * rng.random() + rng.uniform(-6, 6, 3)
  return colour.astype(np.float32).reshape(3, 1, 1)


def _rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
  return [(left, top), (right, top), (right, bottom), (left, bottom)]
