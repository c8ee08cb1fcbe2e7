"""Labels images with a trained PSPNet.

python -m pspnet_jax.predict --workdir=/tmp/scenes --input=FILE_OR_FOLDER --output=DIR

Writes DIR/labels/NAME.png (class ids, with the palette) and DIR/overlays/NAME.png (colours over the
image, with a legend). Images may be of any size; those of a camera are turned upright.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import ml_collections
import numpy as np
from absl import flags

from pspnet_jax import cli, predictor, visualize
from pspnet_jax.checkpoints import Which
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.folder import list_images
from pspnet_jax.data.loader import in_order
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.reporting import Reporter


def predict(
  workdir: Path,
  images: Path,
  output: Path,
  *,
  which: Which = 'best',
  overlays: bool = True,
  batch_size: int = 4,
) -> None:
  """Labels an image file or every image below a folder.

  Raises:
    UserError: for whatever the user can mend; what was written until then stays.
  """
  paths = list_images(images)
  root = images if images.is_dir() else images.parent
  model = predictor.load(workdir, which=which, batch_size=batch_size)

  stems = collections.Counter(path.with_suffix('') for path in paths)

  def target(path: Path) -> Path:
    # A folder may hold street.jpg and street.png: both keep their suffix in the name then.
    name = path.relative_to(root)
    unique = stems[path.with_suffix('')] == 1
    return name.with_suffix('.png') if unique else name.with_name(f'{name.name}.png')

  def read_upright(path: Path) -> np.ndarray:
    return read_image(path, exif_orientation=True)

  def read() -> Iterator[tuple[tuple[Path, np.ndarray], np.ndarray]]:
    for path, image in zip(paths, in_order(read_upright, paths), strict=True):
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
  try:
    for kind in ('labels', 'overlays') if overlays else ('labels',):
      (output / kind / target).parent.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise UserError(f'cannot write to {output}: {e.strerror or e}.') from e
  visualize.write_label(output / 'labels' / target, label, spec)
  if overlays:
    picture = visualize.overlay(image, label, spec)
    visualize.write_image(output / 'overlays' / target, picture)


WORKDIR = flags.DEFINE_string('workdir', None, 'Of the training run.', required=True)
INPUT = flags.DEFINE_string('input', None, 'An image, or a folder of images.', required=True)
OUTPUT = flags.DEFINE_string('output', None, 'Where the pictures go.', required=True)
CHECKPOINT = flags.DEFINE_string('checkpoint', 'best', "'best', 'latest' or a step.")
OVERLAYS = flags.DEFINE_bool('overlays', True, 'Whether to write overlays beside the labels.')


def main(config: ml_collections.ConfigDict) -> None:
  predict(
    Path(WORKDIR.value),
    Path(INPUT.value),
    Path(OUTPUT.value),
    which=cli.which_checkpoint(CHECKPOINT.value),
    overlays=OVERLAYS.value,
    batch_size=config.eval.batch_size,
  )


if __name__ == '__main__':
  cli.run(main)
