"""Labels images with a trained PSPNet.

  pspnet predict --workdir=/tmp/scenes --input=FILE_OR_FOLDER --output=DIR

Writes DIR/labels/NAME.png (class ids, with the palette) and DIR/overlays/NAME.png (colours over the
image, with a legend). Images may be of any size; those of a camera are turned upright.
--config.eval.KEY=VALUE changes the protocol, as in --config.eval.flip=True.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_protocol()
  cli.define_network_flags()
  flags.DEFINE_string('input', None, 'An image, or a folder of images.', required=True)
  flags.DEFINE_string('output', None, 'Where the pictures go.', required=True)
  flags.DEFINE_bool('overlays', True, 'Whether to write overlays beside the labels.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('predict', __doc__, define_flags)

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax import predictor
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.image_files import list_images
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures.labels import overlay, write_image, write_label
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.weights.checkpoints import Which


def predict(
  workdir: Path,
  images: Path,
  output: Path,
  *,
  which: Which = 'best',
  overlays: bool = True,
  **options: Any,
) -> None:
  """Labels an image file or every image below a folder, as `predictor.load` with `options` does.

  Raises:
    UserError: for whatever the user can mend; what was written until then stays.
  """
  # Results of an earlier run may lie within the folder.
  paths = [path for path in list_images(images).found if not path.is_relative_to(output)]
  root = images if images.is_dir() else images.parent
  model = predictor.load(workdir, which=which, **options)

  stems = collections.Counter(path.with_suffix('') for path in paths)

  def target(path: Path) -> Path:
    # A folder may hold street.jpg and street.png: both keep their suffix in the name then.
    name = path.relative_to(root)
    unique = stems[path.with_suffix('')] == 1
    return name.with_suffix('.png') if unique else name.with_name(f'{name.name}.png')

  def read() -> Iterator[tuple[tuple[Path, np.ndarray], np.ndarray]]:
    for path, image in zip(paths, in_order(read_image, paths), strict=True):
      yield (target(path), image), image

  with Reporter(None, total_steps=len(paths)) as report:
    for done, ((name, image), label) in enumerate(model.stream(read()), 1):
      _write(output, name, image, label, model.spec, overlays)
      report.advance(done)
    folders = 'labels and overlays' if overlays else 'labels'
    report.say(f'{len(paths)} image(s) labelled: {folders} are in {output}.')


def _write(
  output: Path,
  target: Path,
  image: np.ndarray,
  label: np.ndarray,
  spec: DatasetSpec,
  overlays: bool,
) -> None:
  write_label(output / 'labels' / target, label, spec)
  if overlays:
    picture = overlay(image, label, spec)
    write_image(output / 'overlays' / target, picture)


def main() -> None:
  predict(
    Path(FLAGS.workdir),
    Path(FLAGS.input),
    Path(FLAGS.output),
    which=cli.which_checkpoint(FLAGS.checkpoint),
    model=cli.own_network(FLAGS.model),
    overlays=FLAGS.overlays,
    **cli.protocol_options(),
  )
