"""Reads the instance files that COCO publishes: the outlines of things, image by image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from pspnet_jax.data.builders.archives import Member
from pspnet_jax.data.builders.coco_polygons import fill
from pspnet_jax.data.builders.outlines import Patch, run_lengths, unroll
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import PIXELS


class Thing(NamedTuple):
  """One object, or a crowd of objects, which is labelled as a whole."""

  class_id: int
  rings: tuple[np.ndarray, ...]  # points [n, 2], x and y; it is what any of them covers
  runs: tuple[int, ...]  # or, where there is no ring, run lengths


class Outlined(NamedTuple):
  """An image with its things, in the order of the file."""

  where: str  # for messages
  size: tuple[int, int]  # height, width
  things: list[Thing]

  def label(self) -> np.ndarray:
    """What each pixel is: uint8 [H, W], 0 where no thing is; the first thing lies on top."""
    return self.draw()[0]

  def draw(self) -> tuple[np.ndarray, int]:
    """The label, and how many things cover no pixel."""
    label, nowhere = np.zeros(self.size, np.uint8), 0
    for thing in self.things:
      patches = self._patches(thing)
      nowhere += not any(patch.mask.any() for patch in patches)
      for patch in patches:
        there = patch.of(label)
        there[patch.mask & (there == 0)] = thing.class_id
    return label, nowhere

  def _patches(self, thing: Thing) -> list[Patch]:
    if thing.rings:
      return [fill(ring, self.size, self.where) for ring in thing.rings]
    return [unroll(thing.runs, self.size, self.where)]


def read_instances(member: Member, classes: Mapping[str, int]) -> dict[str, Outlined]:
  """The images of an instance file, by their names without extension.

  Args:
    member: the JSON file. COCO's largest has 448 MB, which take three times as much memory.
    classes: the ids of the categories that are wanted, by name.

  Raises:
    UserError: if it is no such file, lacks a category, or has a thing without an outline.
  """
  try:
    # Outlines are made compact while they are read: as lists, they would take several GB.
    found = json.loads(member.read().decode(), object_hook=_compact)
    ids = {row['id']: classes[row['name']] for row in found['categories'] if row['name'] in classes}
    images = {row['id']: _outlined(row, member) for row in found['images']}
    for image, category, rings, runs, size in found['annotations']:
      if size is not None and tuple(size) != images[image].size:
        name = PurePosixPath(images[image].where).name
        raise ValueError(f'run lengths of another size than {name}')
      if category in ids:
        images[image].things.append(Thing(ids[category], rings, runs))
  except UserError:
    raise
  except Exception as e:  # whatever a file of another kind makes of the above
    reason = ' '.join(f'{type(e).__name__}: {e}'.split())[:200]
    raise UserError(
      f'{member} is no instance file of COCO ({reason}): download the archive again.'
    ) from e
  if len(ids) < len(classes):
    lost = sorted(classes.keys() - {row['name'] for row in found['categories']})
    raise UserError(f'{member} has no category {", ".join(lost)}: download the archive again.')
  return {PurePosixPath(image.where).stem: image for image in images.values()}


def _outlined(row: Mapping[str, Any], member: Member) -> Outlined:
  where, size = f'{member}/{row["file_name"]}', (int(row['height']), int(row['width']))
  if min(size) < 1 or not where.isprintable():
    raise ValueError(f'an image {where!r} of {size[1]}x{size[0]} pixels')
  if too_large := PIXELS.exceeded_by(size[0] * size[1]):
    raise UserError(f'{where} has {too_large}.')
  return Outlined(where, size, [])


def _compact(found: dict[str, Any]) -> Any:
  """An annotation as (image id, category id, rings, runs, size of these); the rest as it is."""
  if 'segmentation' not in found:
    return found
  outline = found['segmentation']
  if isinstance(outline, dict):
    return found['image_id'], found['category_id'], (), _runs(outline['counts']), outline['size']
  rings = tuple(np.array(ring, float).reshape(-1, 2) for ring in outline if ring)
  if not rings:
    raise ValueError(f'annotation {found["id"]} has no outline')
  return found['image_id'], found['category_id'], rings, (), None


def _runs(counts: str | Sequence[int]) -> tuple[int, ...]:
  if isinstance(counts, str):
    return tuple(run_lengths(counts, 'an annotation'))
  runs = np.array(counts).astype(int, casting='safe')
  if runs.ndim != 1:
    raise ValueError(f'run lengths of shape {runs.shape}')
  return tuple(runs.tolist())
