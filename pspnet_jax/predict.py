"""Labels images with a trained PSPNet.

  pspnet predict --workdir=/tmp/scenes --input=FILE_OR_FOLDER --output=DIR

Writes DIR/labels/NAME.png (class ids, with the palette) and DIR/overlays/NAME.png (colours over the
image, with a legend). Images may be of any size; those of a camera are turned upright if they were
in training. What cannot be labelled in a folder is named at the end, and the exit status is 1.
With --workdir=A,B both networks label each image together, by the mean of their probabilities.
--config.eval.KEY=VALUE changes the protocol, as in --config.eval.flip=True.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_protocol()
  cli.define_network_flags(several=True)
  cli.define_path('input', None, 'An image, or a folder of images.', required=True)
  cli.define_path('output', None, 'Where the pictures go.', required=True)
  flags.DEFINE_bool('overlays', True, 'Whether to write overlays beside the labels.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('predict', __doc__, define_flags)

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax import predictor
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.image_files import counted, list_images
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.pictures.file_names import png_names
from pspnet_jax.pictures.labels import is_own_picture, overlay, write_image, write_label
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights.loaded import Which

_FAILURES_SHOWN = 20


def predict(
  workdir: Path | Sequence[Path],
  images: Path,
  output: Path,
  *,
  which: Which = 'best',
  overlays: bool = True,
  **options: Any,
) -> None:
  """Labels an image file or every image below a folder, as `predictor.load` with `options` does.

  What the folder holds besides is counted, and an image that cannot be labelled does not keep the
  others from it.

  Raises:
    UserError: for whatever the user can mend, and after all others for images that could not be
      labelled; what was written until then stays.
  """
  images, output = given(images), given(output)
  files = list_images(images)
  kinds = ('labels', 'overlays')
  paths, earlier = _apart(files.found, images, [output / kind for kind in kinds])
  left_aside, _ = _apart([*files.left_aside], images, [output / kind for kind in kinds])
  if not paths:
    raise UserError(
      f'{images} holds no image but those in labels and overlays of {output}, which are taken for '
      'results: give another --input or --output.'
    )
  root = images if images.is_dir() else images.parent
  targets = png_names([path.relative_to(root) for path in paths])
  for kind in kinds if overlays else kinds[:1]:
    _check_targets(paths, [output / kind / target for target in targets])
  model = predictor.load(workdir, which=which, **options)
  failures: list[UserError] = []

  def attempt(path: Path) -> np.ndarray | UserError:
    try:
      return read_image(path, exif=model.card.exif)
    except UserError as e:
      return e

  def read() -> Iterator[tuple[tuple[Path, np.ndarray], np.ndarray]]:
    for target, image in zip(targets, in_order(attempt, paths), strict=True):
      if isinstance(image, UserError):
        failures.append(image)
      else:
        yield (target, image), image

  done = 0
  with Reporter(None, total_steps=len(paths)) as report:
    report.say(f'Labelling with {model.origin}.')
    for note in model.notes:
      report.say(note)
    if left_aside:
      kinds_aside = counted({path: files.left_aside[path] for path in left_aside})
      report.say(f'{len(left_aside):,} file(s) left aside: {kinds_aside}.')
    if earlier:
      report.say(
        f'{len(earlier):,} image(s) left aside in labels and overlays of {output}, as results.'
      )
    try:
      for (target, image), label in model.stream(read()):
        _write(output, target, image, label, model.spec, overlays)
        done += 1
        report.advance(done + len(failures))
    except KeyboardInterrupt as e:
      raise Stopped(
        f'interrupted after {done:,} of {len(paths):,} images, whose labels are in {output}.', 2
      ) from e
    if failures and images.is_file():
      raise failures[0]
    written = 'labels and overlays' if overlays else 'labels'
    report.say(f'{done:,} image(s) labelled: {written} are in {output}.')
    for failure in failures[:_FAILURES_SHOWN]:
      report.say(str(failure))
    if more := len(failures[_FAILURES_SHOWN:]):
      report.say(f'... and {more:,} more.')
  if failures:
    raise UserError(
      f'{len(failures):,} of {len(paths):,} images could not be labelled: mend or remove them.'
    )


def _apart(
  paths: Sequence[Path], images: Path, results: Sequence[Path]
) -> tuple[list[Path], list[Path]]:
  """Sets apart the files of a folder that lie in `results`, by whatever name or link."""
  own = {(status.st_dev, status.st_ino) for folder in results if (status := _status(folder))}
  if images.is_file() or not own:
    return list(paths), []
  is_own: dict[Path, bool] = {}
  for folder in {path.parent for path in paths}:
    real = Path(os.path.realpath(folder))
    around = (_status(parent) for parent in (real, *real.parents))
    is_own[folder] = any(status and (status.st_dev, status.st_ino) in own for status in around)
  return (
    [path for path in paths if not is_own[path.parent]],
    [path for path in paths if is_own[path.parent]],
  )


def _check_targets(paths: Sequence[Path], targets: Sequence[Path]) -> None:
  """Refuses to replace what is no picture of an earlier run: an image, labels drawn by hand."""
  there = [(target, status) for target in targets if (status := _status(target))]
  inputs = {(s.st_dev, s.st_ino) for path in paths if there and (s := _status(path))}
  for target, status in there:
    if (status.st_dev, status.st_ino) in inputs or not is_own_picture(target):
      raise UserError(
        f'{target} is there and was not written by predict: give another --output, or move it.'
      )


def _status(path: Path) -> os.stat_result | None:
  try:
    return path.stat()
  except OSError:
    return None


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
    FLAGS.workdir,
    Path(FLAGS.input),
    Path(FLAGS.output),
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    overlays=FLAGS.overlays,
    **cli.protocol_options(),
  )
