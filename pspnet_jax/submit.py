"""Labels a benchmark's test images and packs them as its server takes them.

  pspnet submit --workdir=DIR --input=IMAGES --benchmark=cityscapes --output=FILE.zip

Class ids become the benchmark's: 1-150 for ade20k, label ids for cityscapes. For voc2012 the files
lie in the folders of the development kit, and the server takes .tar.gz. Whether all images are
there is checked first: against --list=FILE, or against the number of images that the split has.
With --workdir=A,B both networks label each image together, by the mean of their probabilities.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS

  cli.takes_protocol()
  cli.define_network_flags(several=True)
  cli.define_path('input', None, 'The folder of the images.', required=True)
  flags.DEFINE_enum('benchmark', None, list(BENCHMARKS), 'Whose server.', required=True)
  cli.define_path('output', None, 'The archive: .zip, .tar.gz or .tgz.', required=True)
  cli.define_path('list', None, 'A file that names the images, one a line.')
  flags.DEFINE_bool('allow_partial', False, 'Whether to submit fewer images than there should be.')
  flags.DEFINE_enum('competition', 'comp6', ['comp5', 'comp6'], 'Of voc2012; comp6: any data.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('submit', __doc__, define_flags)

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax import predictor
from pspnet_jax.data.decode import read_with_orientation
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.orientation import UPRIGHT, turned
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official import submissions
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS, Benchmark, read_names
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights.folders import Location
from pspnet_jax.weights.loaded import Which


def submit(
  benchmark: Benchmark,
  workdir: Location | Sequence[Location],
  images: Path,
  output: Path,
  *,
  list_file: Path | None = None,
  allow_partial: bool = False,
  competition: str = 'comp6',
  which: Which = 'best',
  **options: Any,
) -> None:
  """Writes the archive `output`, with `predictor.load` and `options`.

  Args:
    benchmark: from `BENCHMARKS`.
    workdir: of the network; of several, whose probabilities are averaged.
    images: the folder of the test images.
    output: the archive; it appears when it is complete.
    list_file: the images to submit, one a line.
    allow_partial: submit what there is.
    competition: of VOC: comp5 trains on the challenge's data only, comp6 on any.
    which: the checkpoint.
    options: of the protocol.

  Raises:
    UserError: for whatever the user can mend.
  """
  images, output = given(images), given(output)
  names = None if list_file is None else read_names(list_file, benchmark)
  paths = submissions.select(benchmark, images, names, allow_partial=allow_partial)
  folder = submissions.folder(benchmark, len(paths), competition)
  archive = submissions.Submission(output)
  model = predictor.load(workdir, which=which, **options)
  theirs, ours = benchmark.spec.class_names, model.spec.class_names
  if len(ours) != len(theirs):
    raise UserError(
      f'{model.origin} has {len(ours)} classes, and {benchmark.title} {len(theirs)}: submit one '
      'that was trained on it.'
    )

  exif = model.card.exif
  read_file = functools.partial(read_with_orientation, exif=exif)

  def read() -> Iterator[tuple[tuple[Path, int], np.ndarray]]:  # held as in training
    for path, (image, orientation) in zip(paths, in_order(read_file, paths), strict=True):
      yield (path, orientation if exif == 'upright' else UPRIGHT), image

  with Reporter(None, total_steps=len(paths)) as report, archive:
    report.say(f'Labelling {len(paths):,} images for {benchmark.title} with {model.origin}.')
    for note in model.notes:
      report.say(note)
    for done, ((path, orientation), label) in enumerate(model.stream(read()), 1):
      label = turned(label, orientation, back=True)  # the server compares pixels as stored
      archive.add(f'{folder}{path.stem}.png', submissions.encode(label, benchmark))
      report.advance(done)
  for note in _notes(benchmark, paths, names, ours, output):
    report.say(note)
  report.say(f'{len(paths):,} predictions are in {output}.')


def _notes(
  benchmark: Benchmark,
  paths: list[Path],
  names: list[str] | None,
  classes: tuple[str, ...],
  output: Path,
) -> list[str]:
  notes = []
  if not submissions.is_whole(benchmark, len(paths), names):
    notes.append('This is a part of the images only: the server wants all.')
  pairs = zip(classes, benchmark.spec.class_names, strict=True)
  if differing := [(a, b) for a, b in pairs if a != b]:
    mine, theirs = differing[0]
    notes.append(
      f'{len(differing)} classes go by another name, such as {mine!r} for {theirs!r}: it is their '
      "order that counts, and it must be the benchmark's."
    )
  if not output.name.endswith(benchmark.archives):
    endings = ' or '.join(benchmark.archives)
    notes.append(f'The server of {benchmark.title} takes {endings}: give --output such a name.')
  return notes


def main() -> None:
  submit(
    BENCHMARKS[FLAGS.benchmark],
    FLAGS.workdir,
    Path(FLAGS.input),
    Path(FLAGS.output),
    list_file=Path(FLAGS.list) if FLAGS.list else None,
    allow_partial=FLAGS.allow_partial,
    competition=FLAGS.competition,
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    **cli.protocol_options(),
  )
