"""Draws outlined shapes into label files, in the folders that `data.folder` reads.

Larger shapes are drawn first, so that smaller ones lie on top, as COCO-Stuff's tools do; regions
that are ignored lie beneath them all. Nothing is drawn twice: what of a shape lies beneath another
one, outside its image or between pixels is counted and said.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from pspnet_jax.data.builders.outlines import Patch, fill, union, unroll
from pspnet_jax.data.classes import read_classes
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.image_files import IMAGE_SUFFIXES
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.files import write_whole

Background = Literal['class', 'ignored']  # what pixels of no shape are
BACKGROUND = 'background'  # the name of that class


@dataclasses.dataclass(frozen=True)
class Shape:
  """What somebody outlined: polygons or, instead, run lengths."""

  name: str | None  # of its class; None: to be ignored
  where: str  # for messages
  rings: tuple[np.ndarray, ...] = ()  # points [n, 2], x and y; it is what any of them covers
  runs: tuple[int, ...] = ()
  runs_of: tuple[int, ...] = ()  # the height and width that the runs are for

  def patch(self, size: tuple[int, int]) -> Patch:
    """What it covers of an image of this height and width."""
    if self.runs_of:
      return unroll(self.runs if self.runs_of == size else (), size, self.where)
    rings = [ring for ring in self.rings if len(ring)]
    return union([fill(ring, size, self.where) for ring in rings], size)

  def reaches_beyond(self, size: tuple[int, int]) -> bool:
    """Whether a point lies more than a pixel outside."""
    limit = np.array(size[::-1])
    return any(len(r) > 0 and ((r < -1) | (r > limit + 1)).any() for r in self.rings)


def class_name(name: str) -> str:
  """The name of a class as tools write it; that of the background differs among them."""
  name = name.strip()
  return BACKGROUND if name.lower() in ('background', '_background_') else name


class Annotated(NamedTuple):
  """An image with its shapes."""

  name: str  # of the example, such as 'city/frame_1'
  image: Path
  size: tuple[int, int] | None  # height and width, if the annotations say
  shapes: list[Shape]


class Drawn(NamedTuple):
  """What a set of annotations holds."""

  names: list[str]  # of the classes, in order; may repeat
  examples: list[Annotated]


@dataclasses.dataclass
class Tally:
  """What became of the shapes."""

  shapes: int = 0
  pixels: int = 0
  contested: int = 0  # pixels that shapes of several classes cover
  ignored: int = 0  # regions
  beyond: list[str] = dataclasses.field(default_factory=list)  # shapes that were cut off
  nowhere: list[str] = dataclasses.field(default_factory=list)  # shapes that cover no pixel
  bare: list[str] = dataclasses.field(default_factory=list)  # examples without a shape

  def add(self, other: Tally) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      value += getattr(other, field.name)  # a list in place
      setattr(self, field.name, value)

  def said(self, unlabelled: str) -> list[str]:
    """A sentence for each thing that the user should know; `unlabelled` is what no shape covers."""
    notes = []
    if self.contested:
      notes.append(
        f'{self.contested:,} pixels ({self.contested / self.pixels:.2%}) are covered by shapes of '
        'several classes: the smaller shape lies on top.'
      )
    if self.ignored:
      notes.append(f'{self.ignored:,} region(s) are ignored, beneath whatever else is there.')
    if self.beyond:
      notes.append(f'{_such(self.beyond, "shape")}, reach beyond the image and are cut off there.')
    if self.nowhere:
      notes.append(f'{_such(self.nowhere, "shape")}, cover no pixel and are left out.')
    if self.bare:
      notes.append(f'{_such(self.bare, "image")}, have no shape and are {unlabelled} throughout.')
    return notes


def draw(example: Annotated, ids: Mapping[str, int], unlabelled: int) -> tuple[np.ndarray, Tally]:
  """The label of an example.

  Args:
    example: the image, which is read for its size, and its shapes.
    ids: of the classes, by name.
    unlabelled: the id of pixels that no shape covers.

  Returns:
    uint8 [H, W], class ids and IGNORE_LABEL; and what became of the shapes.

  Raises:
    UserError: for an image that cannot be read or is of another size, or a shape that cannot be
      drawn.
  """
  size = read_image(example.image).shape[:2]
  if example.size not in (None, size):
    raise _of_another_size(example, size)
  tally = Tally(
    len(example.shapes), size[0] * size[1], bare=[] if example.shapes else [example.name]
  )
  label = np.full(size, unlabelled, np.uint8)
  drawn, contested = np.zeros(size, bool), np.zeros(size, bool)  # by shapes of a class; by several
  areas = {i: shape.patch(size).area for i, shape in enumerate(example.shapes)}
  for i in sorted(areas, key=lambda i: (example.shapes[i].name is not None, -areas[i])):
    shape = example.shapes[i]
    if not areas[i]:
      tally.nowhere.append(shape.where)
      continue
    patch = shape.patch(size)  # again: all at once may not fit into memory
    there = patch.of(label)
    if shape.name is None:
      tally.ignored += 1
      there[patch.mask] = IGNORE_LABEL
    else:
      over = patch.mask & patch.of(drawn) & (there != ids[shape.name])
      patch.of(contested)[over] = True
      there[patch.mask] = ids[shape.name]
      patch.of(drawn)[patch.mask] = True
    if shape.reaches_beyond(size):
      tally.beyond.append(shape.where)
  tally.contested = int(np.count_nonzero(contested))
  return label, tally


def write_folder(
  drawn: Drawn,
  output: Path,
  *,
  split: str = '',
  background: Background = 'class',
  say: Callable[[str], None] = print,
  advance: Callable[[int], None] = lambda done: None,
) -> Tally:
  """Writes OUTPUT/images, OUTPUT/labels and OUTPUT/classes.txt, once all is complete.

  Args:
    drawn: what to draw.
    output: a folder. Its classes.txt is used if it has one, from another split.
    split: the name of the folders below images and labels; '' for none.
    background: whether pixels of no shape are a class, the first, or ignored.
    say: told what the user should know.
    advance: told how many images are done.

  Raises:
    UserError: if that is there already, a class is not in classes.txt or cannot be, two images have
      one name, or for whatever `draw` refuses.
  """
  targets = [output / kind / split for kind in ('images', 'labels')]
  for target in targets:
    if target.exists():
      raise UserError(f'{target} exists: remove it, or give another --output or --split.')
  named = set[str]()
  for name, image, *_ in drawn.examples:
    if name in named:
      raise UserError(f'two images are called {name}, extensions apart: rename one of them.')
    if image.suffix.lower() not in IMAGE_SUFFIXES or name.startswith('.') or '/.' in name:
      raise UserError(f'{image} is no name that the data folder would find: rename it.')
    named.add(name)
  if not drawn.examples:
    raise UserError('the annotations name no image: export them again.')
  part = output / f'.incomplete{"-" + split if split else ""}'
  shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
  try:
    ids, total = _write(drawn, output / 'classes.txt', part, background, advance)
    for target in (output / 'classes.txt', *reversed(targets)):
      made = part / target.relative_to(output).parts[0]
      if made.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
  finally:
    shutil.rmtree(part, ignore_errors=True)
  count = f'{len(drawn.examples):,} image(s) with {total.shapes:,} shape(s)'
  say(f'{count} of {len(ids)} classes are in {output}.')
  for note in total.said('background' if background == 'class' else 'ignored'):
    say(note)
  return total


def _write(
  drawn: Drawn, classes: Path, part: Path, background: Background, advance: Callable[[int], None]
) -> tuple[dict[str, int], Tally]:
  """Writes images, labels and, if `classes` does not exist, classes.txt into the folder `part`."""
  names = [*dict.fromkeys([*([BACKGROUND] if background == 'class' else []), *drawn.names])]
  if classes.exists():
    names = _as_before(names, classes)
  else:
    _write_classes(names, part / 'classes.txt')
  ids, total = {name: i for i, name in enumerate(names)}, Tally()
  unlabelled = ids[BACKGROUND] if background == 'class' else IGNORE_LABEL
  work = functools.partial(draw, ids=ids, unlabelled=unlabelled)
  results = in_order(work, drawn.examples)
  for done, (example, (label, tally)) in enumerate(zip(drawn.examples, results, strict=True), 1):
    _link(example.image, part / 'images' / f'{example.name}{example.image.suffix}')
    png = cv2.imencode('.png', label, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()
    write_whole(part / 'labels' / f'{example.name}.png', png)
    total.add(tally)
    advance(done)
  return ids, total


def _as_before(names: Sequence[str], classes: Path) -> list[str]:
  """The classes of the class file, which another split has written; refuses any others."""
  known = list(read_classes(classes).names)
  strange = [name for name in names if name not in known]
  if not strange and BACKGROUND in known and BACKGROUND not in names:
    strange = ['ignored background']
  if strange:
    raise UserError(
      f'{classes} has no class {strange[0]!r}: prepare all splits in the same way, or remove it if '
      'there is no other split.'
    )
  return known


def _write_classes(names: Sequence[str], path: Path) -> None:
  """Writes a class file; refuses names that would not be read from it as they are."""
  DatasetSpec(tuple(names), default_palette(len(names)))  # refuses too many
  write_whole(path, ''.join(f'{name}\n' for name in names))
  try:
    read = read_classes(path).names
  except UserError as error:
    fault = str(error).rstrip('.')
    raise UserError(f'the classes make no class file ({fault}): rename them.') from error
  if read != tuple(names):
    odd = next((name for name in names if name not in read), names[0])
    raise UserError(f'the class name {odd!r} cannot stand in a class file: rename the class.')


def _of_another_size(example: Annotated, size: tuple[int, ...]) -> UserError:
  height, width = example.size or (0, 0)
  where = f'{example.image} is {size[1]}x{size[0]}, and its annotation is for {width}x{height}'
  remedy = 'annotate this image, or give the one that was annotated'
  if (width, height) == size:
    remedy = 'if it was annotated as it is stored, remove the EXIF orientation that turns it'
  return UserError(f'{where} (width x height): {remedy}.')


def _link(source: Path, target: Path) -> None:
  """The same file under another name, or a copy where that cannot be."""
  target.parent.mkdir(parents=True, exist_ok=True)
  try:
    os.link(os.path.realpath(source), target)
  except OSError:
    shutil.copyfile(source, target)


def _such(wheres: list[str], what: str) -> str:
  return f'{len(wheres):,} {what}(s), such as {wheres[0]}'
