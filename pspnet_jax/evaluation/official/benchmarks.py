"""What the three benchmarks call their files and classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from pspnet_jax.data.known_classes import ADE20K, CITYSCAPES, CITYSCAPES_LABELS, VOC2012
from pspnet_jax.data.list_files import lines
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """A benchmark's conventions.

  Attributes:
    title: its name in sentences.
    spec: the classes that are evaluated; class id = position.
    class_ids: the id of each class in label files and submissions.
    num_ids: label files and submissions hold 0 to num_ids - 1; what is no class's id stands for
      something that is not evaluated.
    void_id: a further id in label files that is not evaluated.
    splits: number of images by split, first the one that is submitted.
    image_name: regular expression; what it matches at the start of a file name is the image.
    label_ending: how the names of label files end.
    image_size: (height, width) of every image, where they have one size.
    archives: endings of the archives that the server takes.
    folder: within the archive; {competition} and {split} are filled in.
    palette: whether submissions carry the colours of the classes.
  """

  title: str
  spec: DatasetSpec
  class_ids: tuple[int, ...]
  num_ids: int
  splits: Mapping[str, int]
  archives: tuple[str, ...]
  void_id: int | None = None
  image_name: str = '.+'
  label_ending: str = '.png'
  image_size: tuple[int, int] | None = None
  folder: str = ''
  palette: bool = False

  def image(self, path: Path) -> str | None:
    """The image that a file belongs to; None if its name says none."""
    match = re.match(self.image_name, path.stem)
    return match and match.group()


BENCHMARKS = {
  # README.md and evaluationCode of CSAILVision/sceneparsing
  'ade20k': Benchmark(
    title='ADE20K (SceneParse150)',
    spec=ADE20K,
    class_ids=tuple(range(1, 151)),
    num_ids=151,
    splits={'test': 3352, 'validation': 2000},
    archives=('.zip',),
  ),
  # The development kit's documentation, sections 2.2 and 5.3, and VOCevalseg.m
  'voc2012': Benchmark(
    title='PASCAL VOC 2012',
    spec=VOC2012,
    class_ids=tuple(range(21)),
    num_ids=21,
    void_id=255,
    splits={'test': 1456, 'val': 1449},
    archives=('.tar.gz', '.tgz'),
    folder='results/VOC2012/Segmentation/{competition}_{split}_cls/',
    palette=True,
  ),
  # evaluation/evalPixelLevelSemanticLabeling.py of mcordts/cityscapesScripts
  'cityscapes': Benchmark(
    title='Cityscapes',
    spec=CITYSCAPES,
    class_ids=tuple(label.id for label in CITYSCAPES_LABELS if not label.ignore_in_eval),
    num_ids=34,
    splits={'test': 1525, 'val': 500},
    archives=('.zip',),
    image_name=r'[^_]+_\d{6}_\d{6}',
    label_ending='_labelIds.png',
    image_size=(1024, 2048),
  ),
}


def read_names(path: Path, benchmark: Benchmark) -> list[str]:
  """Reads the images that a list file names: one a line, with or without folder and extension.

  What follows after a space or tab (the label in a list of pairs) is not looked at.

  Raises:
    UserError: if it cannot be read or is empty, or if a line names no image or one twice.
  """
  names: dict[str, None] = {}
  for number, line in lines(path):
    name = benchmark.image(Path(line.replace('\t', ' ').split(' ')[0]))
    if name is None:
      shown = repr(line[:80])
      raise UserError(f'{path}:{number} names no image of {benchmark.title}: {shown}.')
    if name in names:
      raise UserError(f'{path}:{number} names {name!r:.99} for the second time: remove the line.')
    names[name] = None
  if not names:
    raise UserError(f'list file {path} is empty: expected the name of an image on each line.')
  return list(names)
