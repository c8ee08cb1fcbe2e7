"""Reads annotations in COCO's format: polygons, and run lengths as numbers or compressed."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pspnet_jax.data.builders.drawing import Annotated, Drawn, Shape, class_name
from pspnet_jax.data.builders.json_files import checked, get, read_json
from pspnet_jax.data.builders.outlines import run_lengths
from pspnet_jax.errors import UserError


def read_coco(path: Path, images: Path) -> Drawn:
  """The images of an instances file, with their shapes; classes are in the order of their ids.

  Args:
    path: the JSON file.
    images: the folder that its file names are relative to.

  Raises:
    UserError: for whatever in it cannot be understood, or an image outside the folder.
  """
  found = read_json(path)
  of_file = functools.partial(get, where=str(path))
  names: dict[int, str] = {}
  for i, entry in enumerate(of_file(found, 'categories', list)):
    where = f'category {i} of {path}'
    number = get(entry, 'id', int, where)
    if number in names:
      raise UserError(f'{path} has two categories with the id {number}: make the ids unique.')
    names[number] = class_name(get(entry, 'name', str, where))
  examples: dict[Any, Annotated] = {}
  for i, entry in enumerate(of_file(found, 'images', list)):
    where = f'image {i} of {path}'
    number, file = get(entry, 'id', int, where), get(entry, 'file_name', str, where)
    name = PurePosixPath(file.replace('\\', '/'))
    if name.is_absolute() or '..' in name.parts or not name.name or not file.isprintable():
      raise UserError(f'{where}, {file!r}, lies outside {images}: correct its file_name.')
    if number in examples:
      raise UserError(f'{path} has two images with the id {number}: make the ids unique.')
    size = get(entry, 'height', int, where), get(entry, 'width', int, where)
    examples[number] = Annotated(str(name.with_suffix('')), images / name, size, [])
  for i, entry in enumerate(of_file(found, 'annotations', list)):
    where = f'annotation {i} of {path}'
    image, category = (get(entry, key, int, where) for key in ('image_id', 'category_id'))
    for key, number, known in (('image_id', image, examples), ('category_id', category, names)):
      if number not in known:
        raise UserError(f'{where} has the {key} {number}, which is not there: correct it.')
    crowd = get(entry, 'iscrowd', int, where, 0) != 0
    examples[image].shapes.append(_shape(entry, None if crowd else names[category], where))
  return Drawn([names[number] for number in sorted(names)], list(examples.values()))


def _shape(entry: Any, name: str | None, where: str) -> Shape:
  outline = entry.get('segmentation')
  if not outline:
    raise UserError(f'{where} has a box and no outline: draw one, or remove it.')
  what = f"'segmentation' of {where}"
  if isinstance(outline, dict):
    size = get(outline, 'size', list, what)
    if isinstance(outline.get('counts'), str):
      runs = run_lengths(outline['counts'], where)
    else:
      runs = [checked(run, int, f'a run of {what}') for run in get(outline, 'counts', list, what)]
    return Shape(name, where, runs=tuple(runs), runs_of=tuple(size))
  rings = []
  for ring in checked(outline, list, what):
    numbers = [
      checked(number, float, f'a coordinate of {what}') for number in checked(ring, list, what)
    ]
    if len(numbers) % 2:
      raise UserError(f'{what} has {len(numbers)} numbers in a row: give x and y of each point.')
    rings.append(np.array(numbers, float).reshape(-1, 2))
  return Shape(name, where, rings=tuple(rings))
