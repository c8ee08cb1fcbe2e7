"""Reads annotations in labelme's format: a JSON file for each image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.data.builders.drawing import Annotated, Drawn, Shape, class_name
from pspnet_jax.data.builders.json_files import checked, get, read_json
from pspnet_jax.data.image_files import IMAGE_SUFFIXES, image_files
from pspnet_jax.errors import UserError

_IGNORED = '__ignore__'  # a name that labelme's own tools give no class
_WITHOUT_AREA = ('point', 'points', 'line', 'linestrip')  # which cover no pixel


def read_labelme(folder: Path) -> Drawn:
  """The images of all JSON files below a folder, with their shapes; classes are sorted by name.

  Raises:
    UserError: for whatever cannot be understood.
  """
  if not folder.is_dir():
    raise UserError(f'{folder} is no folder: give the one with the JSON files of labelme.')
  paths = sorted(p for p, kind in image_files(folder).left_aside.items() if kind == '.json')
  if not paths:
    raise UserError(f'{folder} holds no JSON file: give the folder in which labelme saved.')
  examples = [_annotated(path, folder) for path in paths]
  shapes = [shape for example in examples for shape in example.shapes]
  names = {shape.name for shape in shapes if shape.name is not None and len(shape.rings[0])}
  return Drawn(sorted(names), examples)


def _annotated(path: Path, folder: Path) -> Annotated:
  found, where = read_json(path), str(path)
  file = get(found, 'imagePath', str, where).replace('\\', '/')
  if not file.isprintable():
    raise UserError(f'{path} has the odd imagePath {file!r}: correct it.')
  beside = [path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
  image = next((p for p in (path.parent / file, *beside) if os.path.isfile(p)), path.parent / file)
  size = None  # not said by labelme before 2018
  if found.get('imageHeight') is not None:
    size = get(found, 'imageHeight', int, where), get(found, 'imageWidth', int, where)
  shapes = []
  for i, entry in enumerate(get(found, 'shapes', list, where)):
    shapes.append(_shape(entry, f'shape {i} of {path}'))
  return Annotated(str(path.relative_to(folder).with_suffix('')), image, size, shapes)


def _shape(entry: Any, where: str) -> Shape:
  name, kind = get(entry, 'label', str, where), get(entry, 'shape_type', str, where, 'polygon')
  points = _points(entry, where)
  if kind == 'rectangle' and len(points) == 2:
    (x0, y0), (x1, y1) = points
    points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
  elif kind == 'circle' and len(points) == 2:
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    points = points[0] + np.hypot(*(points[1] - points[0])) * np.stack(
      [np.cos(turn), np.sin(turn)], 1
    )
  elif kind in _WITHOUT_AREA:
    points = points[:0]
  elif kind not in ('polygon', 'rectangle'):  # which may have its four corners
    raise UserError(f'{where} is a {kind!r}, which is not read: draw a polygon, or remove it.')
  return Shape(None if name == _IGNORED else class_name(name), where, rings=(points,))


def _points(entry: Any, where: str) -> np.ndarray:
  what = f"'points' of {where}"
  points = []
  for point in get(entry, 'points', list, where):
    if len(checked(point, list, f'a point of {what}')) != 2:
      raise UserError(f'a point of {what} has {len(point)} numbers: give x and y.')
    points.append([checked(number, float, f'a coordinate of {what}') for number in point])
  return np.array(points, float).reshape(-1, 2)
