"""Converts a published PSPNet to a folder that predict, evaluate and init_from take.

  pspnet convert --input=train_epoch_100.pth --output=/tmp/ade20k

The implementation it comes from is recognised (semseg, mmsegmentation, MIT, Caffe, PaddleSeg,
GluonCV, sssegmentation), and so is the network; docs/weights.md says what else there is to say.
MIT's two files: --input=ENCODER,DECODER.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.define_paths('input', 'FILE, or several with commas.')
  cli.define_path('output', None, 'The folder to write.', required=True)
  sources = 'semseg, mmseg, mit, caffe, paddleseg, gluoncv, sssegmentation, imagenet'
  flags.DEFINE_string('source', None, f'One of {sources}; else recognised.')
  flags.DEFINE_bool('align_corners', None, "Else the source's rule; mmseg's 769² configs: true.")
  flags.DEFINE_integer('output_stride', None, '8, 16 or 32; 8 where no file tells it.')
  flags.DEFINE_string('key', None, 'Which of several networks in a file, such as state_dict_ema.')
  cli.define_path('class_names', None, 'A class file: a name, or NAME R G B, a line.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('convert', __doc__, define_flags)

from collections.abc import Sequence
from pathlib import Path

from pspnet_jax.data.classes import read_classes
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights import importing


def convert(
  paths: Sequence[Path],
  output: Path,
  *,
  source: str | None = None,
  align_corners: bool | None = None,
  output_stride: int | None = None,
  class_names: Path | None = None,
  key: str | None = None,
) -> None:
  """Writes the network in `paths` as checkpoint 0 of `output`; see `importing.convert`.

  Raises:
    UserError: for whatever the user can mend; nothing is written then.
  """
  output = given(output)
  importing.check_is_new(output)
  converted = importing.convert(
    [given(path) for path in paths],
    source=source,
    align_corners=align_corners,
    output_stride=output_stride,
    classes=None if class_names is None else _classes(given(class_names)),
    key=key,
  )
  importing.write(converted, output)


def _classes(path: Path) -> DatasetSpec:
  classes = read_classes(path)
  return DatasetSpec(classes.names, classes.palette or default_palette(len(classes.names)))


def main() -> None:
  convert(
    [Path(path) for path in FLAGS.input],
    Path(FLAGS.output),
    source=FLAGS.source,
    align_corners=FLAGS.align_corners,
    output_stride=FLAGS.output_stride,
    class_names=None if FLAGS.class_names is None else Path(FLAGS.class_names),
    key=FLAGS.key,
  )
