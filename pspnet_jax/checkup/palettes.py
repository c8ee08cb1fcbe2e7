"""Label files with a palette whose indices mean other classes than their colours say.

Indices are the ids and colours are decoration, until a program that saves space sorts a palette
anew, file by file: then the colours are right and the indices are not.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pspnet_jax.data.palettes import default_palette, voc_palette
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec

Colour = tuple[int, int, int]
Palettes = Mapping[str, Mapping[int, Colour]]  # label file -> the colour of each id it holds

_REMEDY = (
  'read the labels by their colours with labels=colours and the colours in classes.txt, or save '
  'all of them with one palette'
)


class Doubt(NamedTuple):
  """A file whose palette contradicts the others or the classes."""

  kind: str
  file: str
  message: str  # one sentence


def contradictions(files: Palettes, spec: DatasetSpec, table: np.ndarray) -> list[Doubt]:
  """Lists the files whose colours say something else than their indices.

  Args:
    files: those with a palette.
    spec: the classes. Colours that nobody chose are not compared.
    table: from stored ids to class ids; see `label_ids.label_table`.
  """
  colours: dict[int, collections.Counter[Colour]] = collections.defaultdict(collections.Counter)
  for held in files.values():
    for i, colour in held.items():
      colours[i][colour] += 1
  usual = {i: counts.most_common(1)[0][0] for i, counts in colours.items()}
  chosen = spec.palette not in (default_palette(spec.num_classes), voc_palette(spec.num_classes))
  class_of = {colour: c for c, colour in enumerate(spec.palette)} if chosen else {}
  found = []
  for file, held in files.items():
    odd = next((i for i in sorted(held) if held[i] != usual[i]), None)
    if odd is not None:
      other = next(name for name, ids in files.items() if ids.get(odd) == usual[odd])
      message = (
        f'{file} has the colour {_named(held[odd])} for id {odd}, and {other} has '
        f'{_named(usual[odd])}: {_REMEDY}.'
      )
      found.append(Doubt('palettes differ', file, message))
      continue
    for i in sorted(held):
      mapped = int(table[i]) if i < len(table) else -1
      meant = class_of.get(held[i])
      if meant is not None and 0 <= mapped < spec.num_classes and meant != mapped != IGNORE_LABEL:
        message = (
          f'{file} has the colour {_named(held[i])} for id {i}, the class '
          f'{spec.class_names[mapped]}, and that is the colour of {spec.class_names[meant]}: '
          f'{_REMEDY}.'
        )
        found.append(Doubt('palette of another order', file, message))
        break
  return found


def _named(colour: Colour) -> str:
  return ' '.join(map(str, colour))
