"""Writes a network for other programs: StableHLO, ONNX, weights for semseg or mmseg.

  pspnet export --workdir=/tmp/ade20k --format=onnx --output=pspnet50.onnx --images=FOLDER

StableHLO and ONNX take an image uint8 [N, H, W, 3] and give its labels: the network on one image,
without the windows, scales and mirror images of an evaluation. A file is compared with the network
as it runs here, on the images given or on drawn scenes, before it is written.
Of weights for semseg and mmseg it prints what they do not tell and the other program has to be
told; it stands in the file as well, where `pspnet convert` finds it.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS
_FORMATS = ('semseg', 'mmseg', 'stablehlo', 'onnx')


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.define_network_flags(on_hub=True)
  cli.define_path('output', None, 'The file to write.', required=True)
  flags.DEFINE_enum('format', 'semseg', _FORMATS, 'What to write; the first two need PyTorch.')
  flags.DEFINE_string(
    'size', None, "Of the images, HEIGHT,WIDTH, or 'any' (ONNX); the training crop if not given."
  )
  flags.DEFINE_bool('probabilities', False, "Puts out each pixel's probabilities, too.")
  cli.define_path('images', None, 'Images to compare on, and to quantise by.')
  flags.DEFINE_bool('int8', False, 'Quantises an ONNX file by the images of --images.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('export', __doc__, define_flags)

import dataclasses
import types
from collections.abc import Callable
from pathlib import Path

from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.metrics import Confusion, Scores
from pspnet_jax.exports import comparison, stablehlo
from pspnet_jax.exports.program import Program, Run, Size
from pspnet_jax.exports.sample_images import SampleImages
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.files import check_writable, write_together
from pspnet_jax.runtime.paths import given
from pspnet_jax.weights import exporting, folders
from pspnet_jax.weights.loaded import Which

_COMPARED_ON = 20  # images
_QUANTISED_BY = 100
_LEAST_AGREEMENT = 0.8  # mean IoU of int8's labels; below it there is a warning


def export(
  workdir: folders.Location,
  output: Path,
  format_name: str,
  which: Which = 'best',
  *,
  ema: bool = True,
) -> None:
  """Writes a checkpoint of `workdir`, `ema` its moving average, for semseg or mmsegmentation.

  Raises:
    UserError: for whatever the user can mend.
  """
  output = given(output)
  check_writable(output)
  found = folders.load(
    workdir, which, lambda card: exporting.check_fits(card, format_name), ema=ema
  )
  arrays = {**found.params, **found.batch_stats}
  avg_down = found.card.network.get('avg_down', False)
  tensors = exporting.state_dict(arrays, format_name, avg_down=avg_down)
  exporting.write(tensors, output, format_name, found.card)
  streams.show(
    f'{len(tensors)} arrays of step {found.step}{found.kind} written to {output}. What they do not '
    'tell:'
  )
  streams.show(exporting.conventions(found.card))


def export_program(
  workdir: folders.Location,
  output: Path,
  format_name: str,
  which: Which = 'best',
  *,
  ema: bool = True,
  model: type[nnx.Module] | None = None,
  size: str | None = None,
  probabilities: bool = False,
  images: Path | None = None,
  int8: bool = False,
) -> None:
  """Writes the network of a checkpoint as a program, 'stablehlo' or 'onnx'.

  Args:
    workdir, which, ema, model: see `predictor.load`.
    output: the file; of StableHLO a second one, with .json behind its name, tells about it.
    format_name: what to write.
    size: of the images, 'HEIGHT,WIDTH' or 'any'; None: the training crop.
    probabilities: whether it puts them out as well.
    images: to compare it on; None: scenes are drawn.
    int8: whether to quantise it by `images`.

  Raises:
    UserError: for whatever the user can mend, and for a file that does not answer as the network.
  """
  output = given(output)
  if output.is_dir():
    raise UserError(f'--output={output} is a folder: name a file in it.')
  if int8 and format_name != 'onnx':
    raise UserError("--int8 is onnxruntime's: write it with --format=onnx.")
  if int8 and images is None:
    raise UserError('--int8 needs images to measure its ranges on: give --images=FOLDER.')
  check_writable(output)
  description = stablehlo.description_of(output) if format_name == 'stablehlo' else None
  onnx_file = _onnx_file() if format_name == 'onnx' else None
  sides = _size(size)
  if onnx_file is None and size is not None:
    stablehlo.check(sides)

  def build(card: Card) -> Network:
    if onnx_file is None:
      return card.build_network(model)
    onnx_file.check(card)
    return card.build_network(dtype=onnx_file.DTYPE)

  found = folders.load(workdir, which, build, ema=ema)
  card = found.card
  assert found.network is not None  # `build` makes one
  program = Program(
    *(card, found.network, found.params, found.batch_stats),
    origin=f'step {found.step}{found.kind}',
    size=card.crop_size if size is None else sides,
    probabilities=probabilities,
  )
  samples = SampleImages.of(images, program.size, card.crop_size, card.exif)
  compared_on = samples.some(_COMPARED_ON)
  live = program.live()
  writer = stablehlo if onnx_file is None else onnx_file
  runner = writer.runner
  content = writer.make(program)
  answer = runner(content)
  if not probabilities:  # labels alone do not tell how far the rest is off
    twin = runner(writer.make(dataclasses.replace(program, probabilities=True)))
    answer = comparison.with_probabilities(answer, twin)
  narrow = found.network.options['dtype'] in ('bfloat16', 'float16')
  allowed = comparison.NARROW if narrow else comparison.FLOAT32
  same = comparison.compare(live, answer, compared_on, allowed)
  same.check(str(output))
  said = [
    str(program),
    f'Compared with the network here on {same.images} {_whose(images, len(samples))}: {same}.',
  ]
  if int8:
    content, told = _in_int8(content, live, runner, samples, card.spec.num_classes)
    said += told
  files: dict[Path, str | bytes | None] = {output: content}
  if description is not None:
    files[description] = program.described() + '\n'
  write_together(files)
  for line in (*said, f'{" and ".join(map(str, files))} written, {len(content) / 1e6:.1f} MB.'):
    streams.show(line)


def _in_int8(
  content: bytes,
  live: Run,
  runner: Callable[[bytes], Run],
  samples: SampleImages,
  num_classes: int,
) -> tuple[bytes, list[str]]:
  """The quantised model, and what it costs on images that did not set its ranges."""
  from pspnet_jax.exports import onnx_int8

  if len(samples) < 2:
    raise UserError('--int8 needs two images or more: one sets the ranges, another shows the loss.')
  measured_on = samples.some(min(_COMPARED_ON, len(samples) // 2))
  by = samples.some(_QUANTISED_BY, apart=measured_on)
  content = onnx_int8.quantized(content, by)
  run = runner(content)
  counts = Confusion.zeros(num_classes)
  for image in measured_on:
    floats, ours = (answer(image[None])['labels'] for answer in (live, run))
    counts = counts.merge(Confusion.count(floats, ours, num_classes))
  return content, [
    f'int8 by {len(by)} images, on {len(measured_on)} others:',
    *_told_of_int8(Scores(counts.compute())),
  ]


def _told_of_int8(scores: Scores) -> list[str]:
  """Says how near its labels are to those of the float network, which stand for the truth."""
  told = [
    f'{100 * (1 - scores.aacc):.2f} % of the labels differ from the float network, and their mean '
    f'IoU with its labels is {100 * scores.miou:.2f} %.'
  ]
  if not scores.miou >= _LEAST_AGREEMENT:
    told.append(
      f'A warning: below {100 * _LEAST_AGREEMENT:.0f} % mean IoU int8 has lost classes: give more '
      '--images, of the kind that will be labelled, or deploy the float network.'
    )
  return told


def _onnx_file() -> types.ModuleType:
  try:
    from pspnet_jax.exports import onnx_file
  except ImportError as e:
    raise UserError(
      f"--format=onnx needs {e.name or 'onnx'}: pip install 'pspnet_jax[onnx]'."
    ) from e
  return onnx_file


def _size(text: str | None) -> Size:
  """The value of --size; None is any."""
  if text in (None, 'any'):
    return None
  sides = str(text).split(',')
  if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
    raise UserError(f"--size={text}: give HEIGHT,WIDTH in pixels, or 'any'.")
  return int(sides[0]), int(sides[1])


def _whose(images: Path | None, count: int) -> str:
  return 'drawn scenes' if images is None else f'of the {count:,} image(s) of {images}'


def main() -> None:
  which = cli.which_checkpoint(FLAGS.checkpoint)
  place = FLAGS.workdir, Path(FLAGS.output), FLAGS.format, which
  if FLAGS.format in exporting.FORMATS:
    for name in ('size', 'probabilities', 'images', 'int8'):
      if FLAGS[name].value:
        raise UserError(f'--format={FLAGS.format} writes weights alone: leave --{name} out.')
    export(*place, ema=FLAGS.ema)
    return
  export_program(
    *place,
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    size=FLAGS.size,
    probabilities=FLAGS.probabilities,
    images=FLAGS.images,
    int8=FLAGS.int8,
  )
