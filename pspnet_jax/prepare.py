"""Prepares a published data set, or draws outlined shapes into label files.

  pspnet prepare --dataset=ade20k --data_dir=DIR
  pspnet prepare --dataset=coco --input=instances.json --images=DIR --output=ROOT
  pspnet prepare --dataset=labelme --input=DIR --output=ROOT

The first downloads a published data set, checks it, and writes it for random access. Archives that
lie in --manual_dir are used instead of downloading them, and have to lie there where a data set
wants a login, as Cityscapes does. The other two write a folder of images, labels and classes.txt
for --config=folder. docs/data.md goes from there to the first training step.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS

BUILDERS = {
  'ade20k': 'ade20k.Ade20k',
  'camvid': 'camvid.Camvid',
  'cityscapes': 'cityscapes.Cityscapes',
  'cityscapes_coarse': 'cityscapes.CityscapesCoarse',
  'coco_stuff10k': 'coco_stuff.CocoStuff10k',
  'coco_stuff164k': 'coco_stuff.CocoStuff164k',
  'coco_voc': 'coco_voc.CocoVoc',
  'isaid': 'isaid.Isaid',
  'loveda': 'loveda.Loveda',
  'mapillary': 'mapillary.Mapillary',
  'pascal_context': 'pascal_context.PascalContext',
  'potsdam': 'isprs.Potsdam',
  'vaihingen': 'isprs.Vaihingen',
  'voc2012': 'voc2012.Voc2012',
}
READ_FROM = {'pascal_context_59': 'pascal_context'}  # data set -> the one whose files it reads
FORMATS = ('coco', 'labelme')  # of annotations by shapes


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  from pspnet_jax.data.prepared import DATA_DIR

  known = ', '.join([*BUILDERS, *READ_FROM, *FORMATS])
  flags.DEFINE_string('dataset', None, f'One of {known}.', required=True)
  cli.define_path('data_dir', DATA_DIR, 'Where prepared data sets are.')
  cli.define_path('manual_dir', None, 'Where archives are; else DATA_DIR/downloads/manual.')
  cli.define_path('input', None, "COCO's instances file, or the folder of labelme's files.")
  cli.define_path('images', None, "The folder that COCO's file names are relative to.")
  cli.define_path('output', None, 'The data folder that shapes are drawn into.')
  flags.DEFINE_string('split', '', 'Its split: images/SPLIT, labels/SPLIT; left out: none.')
  flags.DEFINE_string('background', 'class', "What pixels of no shape are: a 'class' or 'ignored'.")


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('prepare', __doc__, define_flags)

import importlib
import shutil
from pathlib import Path
from typing import Any

from pspnet_jax.data.builders.coco import read_coco
from pspnet_jax.data.builders.drawing import Background, write_folder
from pspnet_jax.data.builders.labelme import read_labelme
from pspnet_jax.data.image_files import image_files
from pspnet_jax.data.prepared import VERSION
from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.runtime.paths import given

_BUSY = 'is being prepared by {holder}: wait for it.'


def prepare(dataset: str, data_dir: Path, manual_dir: Path | None = None) -> Path:
  """Writes DATA_DIR/DATASET/VERSION, unless it is there.

  It appears under that name once it is complete. What an interrupted preparation left is removed,
  and examples are written anew; archives that were downloaded are kept and used again.

  Args:
    dataset: a key of `BUILDERS` or `READ_FROM`.
    data_dir: where prepared data sets are, and `downloads` below it.
    manual_dir: where archives may lie that need no downloading; None: DATA_DIR/downloads/manual.

  Returns:
    The folder of the prepared data set.

  Raises:
    UserError: for an unknown data set, an archive that is missing, damaged or not the published
      one, a failed download, a folder that cannot be written, or without tensorflow-datasets.
  """
  data_dir, dataset = given(data_dir), READ_FROM.get(dataset, dataset)
  if dataset not in BUILDERS:
    known = ', '.join([*BUILDERS, *READ_FROM, *FORMATS])
    raise UserError(f'unknown data set {dataset!r}: known are {known}.')
  folder = data_dir / dataset / VERSION
  if (folder / 'dataset_info.json').is_file():
    streams.show(f'{folder} is prepared already: remove it to prepare it anew.')
    return folder
  try:
    import tensorflow_datasets as tfds
  except ImportError as e:
    raise UserError(
      f"preparing {dataset} needs tensorflow-datasets: pip install 'pspnet_jax[tfds]'."
    ) from e
  module, _, builder_class = BUILDERS[dataset].partition('.')
  try:
    # A second preparation of the same data set would remove what this one is writing.
    with FolderLock(folder.parent, _BUSY):
      for leftover in folder.parent.glob(f'incomplete.*_{VERSION}'):
        shutil.rmtree(leftover)
      builders = importlib.import_module(f'pspnet_jax.data.builders.{module}')
      builder = getattr(builders, builder_class)(data_dir=data_dir, file_format='array_record')
      _run(builder, manual_dir or data_dir / 'downloads' / 'manual', tfds)
  except OSError as e:
    raise cannot_write(folder, e) from e
  return folder


def prepare_shapes(
  form: str,
  annotations: Path,
  output: Path,
  *,
  images: Path | None = None,
  split: str = '',
  background: Background = 'class',
) -> None:
  """Draws outlined shapes into label files: OUTPUT/images, OUTPUT/labels, OUTPUT/classes.txt.

  Args:
    form: one of `FORMATS`.
    annotations: the instances file of COCO, or the folder of labelme's files.
    output: a data folder, for `data.folder`.
    images: the folder that COCO's file names are relative to.
    split: the name of the folders below images and labels; '' for none.
    background: what pixels of no shape are: a 'class', the first, or 'ignored'.

  Raises:
    UserError: for annotations or images that cannot be understood, or folders that are there.
  """
  annotations, output = given(annotations), given(output)
  images = None if images is None else given(images)
  if background not in ('class', 'ignored'):
    raise UserError(f"--background={background}: give 'class' or 'ignored'.")
  if split != Path(split).name or split.startswith('.'):
    raise UserError(f'--split={split} is no name of a folder: give one such as train.')
  if form == 'coco' and images is None:
    raise UserError('--dataset=coco needs the folder of the images: give --images=DIR.')
  drawn = read_labelme(annotations) if images is None else read_coco(annotations, images)
  with (
    FolderLock(output, _BUSY),
    Reporter(None, total_steps=len(drawn.examples)) as report,
  ):
    write_folder(
      drawn, output, split=split, background=background, say=report.say, advance=report.advance
    )
    if images is not None:
      count = len(set(image_files(images).found) - {example.image for example in drawn.examples})
      if count:
        report.say(f'{count:,} image(s) in {images} are not among the annotations: left out.')


def _run(builder: Any, manual_dir: Path, tfds: Any) -> None:
  with Reporter(None, total_steps=sum(builder.counts.values())) as report:
    done = 0

    def advance() -> None:
      nonlocal done
      done += 1
      report.advance(done)

    builder.manual_dir, builder.say, builder.advance = manual_dir, report.say, advance
    # TFDS has bars of its own, for the downloads; examples are counted by the report.
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig())
    for split, info in builder.info.splits.items():
      report.say(f'{split}: {info.num_examples:,} examples')
    report.say(f'Prepared {builder.name} in {builder.data_path}.')


def main() -> None:
  if FLAGS.dataset not in FORMATS:
    prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.manual_dir)
    return
  if FLAGS.input is None or FLAGS.output is None:
    raise UserError(f'--dataset={FLAGS.dataset} reads and writes: give --input and --output.')
  prepare_shapes(
    FLAGS.dataset,
    FLAGS.input,
    FLAGS.output,
    images=FLAGS.images if FLAGS.dataset == 'coco' else None,
    split=FLAGS.split,
    background=FLAGS.background,
  )
