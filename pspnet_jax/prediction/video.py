"""Labels the frames of a video, and writes them as a video."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pspnet_jax.data.video import open_video
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.pictures import labels
from pspnet_jax.prediction import areas
from pspnet_jax.prediction.asking import Asked, Model
from pspnet_jax.prediction.video_files import video_file
from pspnet_jax.reporting.reporter import Reporter

_LISTED = 30  # classes at most for a legend that fits below every frame


def check(asked: Asked) -> None:
  """Raises UserError for what there is only of images."""
  for kind in ('confidence', 'probabilities'):
    if kind in asked.kinds:
      raise UserError(f'--{kind} is of images: cut the video into its frames, and give the folder.')
  if not (asked.areas or 'overlays' in asked.kinds or 'side_by_side' in asked.kinds):
    raise UserError('with --nooverlays, a video needs --areas or --side_by_side.')


def label_video(
  model: Model,
  video: Path,
  output: Path,
  asked: Asked,
  mark: str,
  report: Reporter,
  check: Callable[[], None],
) -> list[areas.Area]:
  """Writes OUTPUT/overlays/NAME.mp4, or side_by_side/NAME.mp4 with the frame on the left, or both.

  Below each frame stand all classes, if they are few: a list of those that occur would jump. Frames
  are as far apart in time as in the file; sound is left out.

  Args:
    model: labels the frames.
    video: the file.
    output: the folder of the results.
    asked: what to write.
    mark: what it is made from.
    report: is told the frames a second, and what could not be read.
    check: is called after each frame, and raises Stopped where a signal has come.

  Returns:
    the areas of each frame; OUTPUT/areas.csv has them if it is asked for.

  Raises:
    UserError: if the file cannot be read or the video not be written, which then does not exist.
    Stopped: by a signal; likewise.
  """
  measured: list[areas.Area] = []
  kinds = [kind for kind in ('overlays', 'side_by_side') if kind in asked.kinds]
  with contextlib.ExitStack() as stack:
    about, frames = stack.enter_context(open_video(video))
    writers: dict[str, Callable[[np.ndarray], None]] = {}
    for folder in kinds:
      path = output / folder / f'{video.stem}.mp4'
      writers[folder] = stack.enter_context(video_file(path, about.frames_per_second, mark))
    begun = first = time.monotonic()
    try:
      for frame, answer in asked.answers(model, ((frame, frame) for frame in frames)):
        overlaid = labels.overlay(frame, answer.label, model.spec, legend=False)
        for kind, add in writers.items():
          shown = overlaid if kind == 'overlays' else np.concatenate([frame, overlaid], 1)
          add(_with_classes(shown, model))
        measured.append(areas.measure(answer.label, model.spec))
        first = time.monotonic() if len(measured) == 1 else first
        report.advance(len(measured))
        check()
    except (KeyboardInterrupt, Stopped) as e:
      raise Stopped(
        f'interrupted after {len(measured):,} frames of {video}, of which nothing is kept.',
        e.status - 128 if isinstance(e, Stopped) else signal.SIGINT,
      ) from e
  ended = time.monotonic()
  count = len(measured)
  rate = f': {(count - 1) / (ended - first):.1f} frames/s once compiled' if count > 1 else ''
  report.say(f'{count:,} frame(s) labelled in {ended - begun:.1f} s{rate}.')
  if count < about.frames:
    report.say(f'{video} announces {about.frames:,} frames, and only these could be read.')
  if asked.areas:
    rows = [(f'{video.name} {i + 1}', area) for i, area in enumerate(measured)]
    areas.write(output / 'areas.csv', rows, model.spec)
  return measured


def _with_classes(frame: np.ndarray, model: Model) -> np.ndarray:
  if model.spec.num_classes > _LISTED:
    return frame
  return np.concatenate([frame, labels.all_classes(model.spec, frame.shape[1])])


def frames_of(video: Path) -> int:
  """How many frames a video announces, at least 1.

  Raises:
    UserError: as `open_video`.
  """
  with open_video(video) as (about, _):
    return max(1, about.frames)
