"""Labels images, or a video, with a trained PSPNet.

  pspnet predict --workdir=/tmp/scenes --input=FILE_OR_FOLDER --output=DIR

Writes DIR/labels/NAME.png (class ids, with the palette) and DIR/overlays/NAME.png (colours over the
image, with a legend). What cannot be labelled is named at the end, and the status is 1; what the
same weights and settings wrote before is kept. --config.eval.KEY=VALUE changes the protocol.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_protocol()
  cli.define_network_flags(several=True)
  cli.define_path(
    'input', None, 'An image, a folder of images, or a video: DIR/overlays/NAME.mp4.', required=True
  )
  cli.define_path('output', None, 'Where the pictures go.', required=True)
  flags.DEFINE_bool('overlays', True, 'Writes overlays beside the labels.')
  flags.DEFINE_bool(
    'side_by_side', False, 'Writes DIR/side_by_side/NAME.png: the image beside its labels.'
  )
  flags.DEFINE_bool(
    'confidence', False, 'Writes DIR/confidence/NAME.png: 255 times the probability, grey.'
  )
  flags.DEFINE_bool('probabilities', False, 'Writes DIR/probabilities/NAME.npz: float16 [H, W, C].')
  flags.DEFINE_float('min_confidence', 0.0, 'Pixels of lower probability get 255, no class.')
  flags.DEFINE_bool('areas', False, "Writes DIR/areas.csv: each class's share of each image.")


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('predict', __doc__, define_flags)


import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

from pspnet_jax import predictor
from pspnet_jax.data.image_files import counted, list_images
from pspnet_jax.data.video import is_video
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.pictures.file_names import png_names
from pspnet_jax.prediction import areas as tables
from pspnet_jax.prediction import video
from pspnet_jax.prediction.asking import Asked
from pspnet_jax.prediction.labelling import File, Outcome, label_files, made_from
from pspnet_jax.prediction.results import KINDS, Results, set_apart
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.paths import HUB, given, is_on_hub
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.folders import Location
from pspnet_jax.weights.loaded import Which

_FAILURES_SHOWN = 20


def predict(
  workdir: Location | Sequence[Location],
  images: Path,
  output: Path,
  *,
  which: Which = 'best',
  overlays: bool = True,
  side_by_side: bool = False,
  confidence: bool = False,
  probabilities: bool = False,
  min_confidence: float = 0.0,
  areas: bool = False,
  **options: Any,
) -> None:
  """Labels an image, a video or every image below a folder, as `predictor.load` with `options`.

  What the folder holds besides is counted, and an image that cannot be labelled does not keep the
  others from it. Each image runs through the network once, whatever is asked of it, and not at all
  where an earlier run has written all of it with the same weights and settings. With a network of
  the user's own (`model`), whose code may have changed since, all are labelled anew.

  Args:
    workdir: of a network, as `predictor.load` takes it, or of several that label together.
    images: a file or a folder.
    output: the folder of the results.
    which: the checkpoint.
    overlays, side_by_side, confidence, probabilities: whether to write those folders.
    min_confidence: pixels of lower probability are labelled 255.
    areas: whether to write areas.csv.
    **options: of `predictor.load`.

  Raises:
    UserError: for whatever the user can mend, and after all others for images that could not be
      labelled; what was written until then stays.
  """
  images, output = given(images), given(output)
  if not 0 <= min_confidence <= 1:
    raise UserError(f'--min_confidence={min_confidence:g}: give a probability from 0 to 1.')
  wanted = {'labels': True, 'overlays': overlays, 'confidence': confidence}
  wanted |= {'probabilities': probabilities, 'side_by_side': side_by_side}
  workdirs = [workdir] if isinstance(workdir, str | PurePath) else workdir
  kinds = tuple(kind for kind in KINDS if wanted[kind])
  asked = Asked(kinds, areas, min_confidence, _titles(workdirs))
  if areas:
    tables.check_own(output / 'areas.csv')
  if is_video(images):
    _predict_video(images, output, asked, lambda: predictor.load(workdir, which=which, **options))
    return
  files = list_images(images)
  paths, earlier = set_apart(files.found, images, output)
  left_aside, _ = set_apart([*files.left_aside], images, output)
  if not paths:
    raise UserError(
      f'{images} holds no image but those in labels and overlays of {output}, which are taken for '
      'results: give another --input or --output.'
    )
  root = images if images.is_dir() else images.parent
  names = [path.relative_to(root) for path in paths]
  targets = png_names(names)
  results = Results(output, asked.kinds)
  results.check(paths, targets)
  model = predictor.load(workdir, which=which, **options)
  # The code of a network of the user's own is in no mark, and may be another now: nothing is kept.
  own = options.get('model') is not None
  failures: list[UserError] = []
  measured: dict[int, tables.Area] = {}
  kept = 0
  stop = StopSignals(after='this image', owns_process=cli.is_command())

  def tell(outcome: Outcome) -> None:
    nonlocal kept
    if outcome.error is not None:
      failures.append(outcome.error)
    elif outcome.area is not None:
      measured[outcome.number] = outcome.area
      kept += outcome.kept
    report.advance(len(measured) + len(failures))

  def write_areas() -> None:
    if areas:
      rows = [(names[i].as_posix(), measured[i]) for i in sorted(measured)]
      tables.write(output / 'areas.csv', rows, model.spec)

  with Reporter(None, total_steps=len(paths)) as report:
    _say_what_labels(report, model)
    if left_aside:
      kinds_aside = counted({path: files.left_aside[path] for path in left_aside})
      report.say(f'{len(left_aside):,} file(s) left aside: {kinds_aside}.')
    if earlier:
      report.say(
        f'{len(earlier):,} image(s) left aside in labels and overlays of {output}, as results.'
      )
    try:
      with stop:
        label_files(
          model,
          [File(*pair) for pair in zip(paths, targets, strict=True)],
          results,
          asked,
          made_from=made_from(model, asked, own=own),
          keep=not own,
          tell=tell,
          check=stop.check,
        )
    except (KeyboardInterrupt, Stopped) as e:
      write_areas()
      raise Stopped(
        f'interrupted after {len(measured):,} of {len(paths):,} images, whose labels are in '
        f'{output}: the same command {"labels all anew" if own else "goes on"}.',
        stop.received or signal.SIGINT,
      ) from e
    if failures and images.is_file():
      raise failures[0]
    write_areas()
    if kept:
      report.say(f'{kept:,} image(s) kept, which the same weights and settings have labelled.')
    report.say(
      f'{len(measured) - kept:,} image(s) labelled: {_listed(asked.kinds)} are in {output}.'
    )
    _say_what_is_unsure(report, measured.values(), asked)
    for failure in failures[:_FAILURES_SHOWN]:
      report.say(str(failure))
    if more := len(failures[_FAILURES_SHOWN:]):
      report.say(f'... and {more:,} more.')
  if failures:
    raise UserError(
      f'{len(failures):,} of {len(paths):,} images could not be labelled: mend or remove them.'
    )


def _predict_video(
  path: Path, output: Path, asked: Asked, load: Callable[[], predictor.Predictor]
) -> None:
  video.check(asked)
  frames = video.frames_of(path)
  results = Results(output, [kind for kind in asked.kinds if kind != 'labels'])
  results.check([path], [Path(f'{path.stem}.mp4')])
  model = load()
  with Reporter(None, total_steps=frames) as report:
    _say_what_labels(report, model)
    with StopSignals(after='this frame', owns_process=cli.is_command()) as stop:
      mark = model.identity()[:16]
      measured = video.label_video(model, path, output, asked, mark, report, stop.check)
    if results.kinds:
      report.say(f'{_listed(results.kinds)} are in {output}, as video without sound.')
    _say_what_is_unsure(report, measured, asked)


def _say_what_labels(report: Reporter, model: predictor.Predictor) -> None:
  report.say(f'Labelling with {model.origin}.')
  for note in model.notes:
    report.say(note)


def _say_what_is_unsure(report: Reporter, measured: Iterable[tables.Area], asked: Asked) -> None:
  if asked.min_confidence and (found := [*measured]):
    pixels = sum(area.width * area.height for area in found)
    share = 100 * sum(area.counts[-1] for area in found) / pixels
    report.say(
      f'{share:.1f} % of the pixels are below --min_confidence={asked.min_confidence:g}, and of no '
      'class.'
    )


def _titles(workdirs: Sequence[Location]) -> list[str]:
  """What the networks are called in a picture; those of the Hub without their owners."""
  names = [
    str(x).removeprefix(HUB).partition('/')[2] if is_on_hub(x) else storage.given(x).name
    for x in workdirs
  ]
  return names if len({*names}) == len(names) else [*map(str, workdirs)]


def _listed(kinds: Sequence[str]) -> str:
  *first, last = kinds
  return f'{", ".join(first)} and {last}' if first else last


def main() -> None:
  predict(
    FLAGS.workdir,
    Path(FLAGS.input),
    Path(FLAGS.output),
    which=cli.which_checkpoint(FLAGS.checkpoint),
    ema=FLAGS.ema,
    model=cli.own_network(FLAGS.model),
    overlays=FLAGS.overlays,
    side_by_side=FLAGS.side_by_side,
    confidence=FLAGS.confidence,
    probabilities=FLAGS.probabilities,
    min_confidence=FLAGS.min_confidence,
    areas=FLAGS.areas,
    **cli.protocol_options(),
  )
