"""The page itself, of Gradio's parts: a visitor's image, and how what was said of it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from pspnet_jax.data.spec import DatasetSpec, Exif
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import shortages
from pspnet_jax.web import markup, results, uploads
from pspnet_jax.web.results import Labelled, Labeller

_CLASSES, _CONFIDENCE = 'Classes', 'Confidence'
_WAITING = 16  # events that wait for their turn; whoever comes after them is asked to come back
_KEPT_SECONDS = 3600  # what a visitor left behind
_THUMBNAIL = 160  # pixels
_NOT_OFFERED = 'That is nothing this page offers: load it again.'  # to who is no visitor of it


@dataclasses.dataclass(frozen=True)
class Page:
  """What the page is about.

  Attributes:
    title: which network it is.
    about: more lines about it.
    spec: names and colours of the classes.
    exif: how images are held; see `decode.read_image`.
    ways: the labellers whose answers stand side by side; several ways are a choice of the visitor.
    max_pixels: the most of an image.
    examples: image files that are offered.
  """

  title: str
  about: tuple[str, ...]
  spec: DatasetSpec
  exif: Exif
  ways: Mapping[str, Sequence[Labeller]]
  max_pixels: int
  examples: tuple[Path, ...] = ()


@dataclasses.dataclass
class Visit:
  """What is kept of one visitor: the last image, and what was said of it in each way."""

  name: str
  image: np.ndarray | None  # uint8 [H, W, 3], if there is another way to label it
  labelled: dict[str, Labelled]


def build(page: Page, folder: Path) -> gr.Blocks:
  """Builds the page for `serving.serve`, whose uploads go into `folder`.

  Raises:
    UserError: if an example cannot be read.
  """
  ways = [*page.ways]
  with gr.Blocks(title=page.title, analytics_enabled=False, fill_width=True) as blocks:
    visit = gr.State(None, time_to_live=_KEPT_SECONDS)
    highlight = gr.State(None)  # the id of a class
    _html(markup.heading(page.title, page.about), 'heading')
    with gr.Row(elem_id='columns'):
      with gr.Column(elem_id='image'):
        upload = _drop_zone()
        message = _html(markup.said(_invitation(page)), 'message')
        examples = _html(_examples(page), 'examples', markup.EXAMPLES_SCRIPT)
      with gr.Column(elem_id='view'):
        pictures = _html(markup.NO_PICTURE, 'pictures')
      with gr.Column(elem_id='controls'):
        show = gr.Radio([_CLASSES, _CONFIDENCE], value=_CLASSES, label='Show')
        opacity = gr.Slider(0, 100, value=50, step=5, label='Opacity of colours, %')
        way = gr.Radio(ways, value=ways[0], label='Networks', visible=len(ways) > 1)
        legend = _html('', 'legend', markup.LEGEND_SCRIPT)

    for control in (show, opacity, way):  # Gradio would print a traceback: `Events` checks them
      control.preprocess = lambda payload: payload

    events = Events(page, folder)
    shown = [way, show, opacity]
    answered = [visit, highlight, message, pictures, legend]
    labels: dict[str, Any] = {
      'concurrency_id': 'device',  # one image at a time
      'concurrency_limit': 1,
      'api_visibility': 'private',
      'show_progress_on': [pictures],
    }
    draws: dict[str, Any] = {
      'api_visibility': 'private',
      'show_progress': 'hidden',
      'trigger_mode': 'always_last',
    }
    upload.upload(events.upload, [upload, *shown], [upload, *answered], **labels)
    examples.select(events.example, shown, answered, **labels)
    way.input(events.way, [visit, *shown], answered, **labels)
    legend.select(events.highlight, [visit, *shown], [highlight, message, pictures], **draws)
    for control in (show, opacity):
      control.input(events.redraw, [visit, highlight, *shown], [message, pictures], **draws)
  blocks.queue(max_size=_WAITING, api_open=False, default_concurrency_limit=2)
  return blocks


class Events:
  """What happens when a visitor does something; returned is what the parts of the page then show.

  Of the arguments, `way`, `show` and `opacity` are what the controls say. Nothing is kept here: a
  visit goes from event to event through the visitor's own session.
  """

  def __init__(self, page: Page, folder: Path):
    self._page, self._folder = page, folder

  def upload(self, path: str | None, way: str, show: str, opacity: float) -> tuple[Any, ...]:
    """Returns None for the drop zone, which is empty again, and what `_answer` does."""
    page = self._page
    try:
      if path is None:
        raise UserError('There is no file: drop an image in.')
      file = Path(path)
      image = uploads.take(file, self._folder, max_pixels=page.max_pixels, exif=page.exif)
      return None, *self._first_answer(file.name, image, way, show, opacity)
    except UserError as error:
      return None, *_refused(error)

  def example(self, event: gr.EventData, way: str, show: str, opacity: float) -> tuple[Any, ...]:
    try:
      path = self._page.examples[_index(event, 0, len(self._page.examples))]
      image = _read_example(path, self._page)
      return self._first_answer(path.name, image, way, show, opacity)
    except UserError as error:
      return _refused(error)

  def way(self, visit: Visit | None, way: str, show: str, opacity: float) -> tuple[Any, ...]:
    if visit is None:
      return tuple(gr.skip() for _ in range(5))
    try:
      return self._answer(visit, way, show, opacity)
    except UserError as error:
      return _refused(error)

  def highlight(
    self, event: gr.EventData, visit: Visit | None, way: str, show: str, opacity: float
  ) -> tuple[Any, ...]:
    try:
      index = _index(event, -1, 256)
    except UserError as error:
      return gr.skip(), markup.said(str(error), is_error=True), gr.skip()
    chosen = index if index >= 0 else None
    return chosen, *self.redraw(visit, chosen, way, show, opacity)

  def redraw(
    self, visit: Visit | None, highlight: int | None, way: str, show: str, opacity: float
  ) -> tuple[Any, ...]:
    """Returns the message and the pictures; no network runs."""
    try:
      if visit is None or self._known(way) not in visit.labelled:
        raise UserError('There is no image, or no longer: drop it in again.')
      return gr.skip(), self._draw(visit.labelled[way], highlight, show, opacity)
    except UserError as error:
      return markup.said(str(error), is_error=True), gr.skip()

  def _known(self, way: str) -> str:
    if not isinstance(way, str) or way not in self._page.ways:
      raise UserError(_NOT_OFFERED)
    return way

  def _first_answer(
    self, name: str, image: np.ndarray, way: str, show: str, opacity: float
  ) -> tuple[Any, ...]:
    return self._answer(Visit(name, image, {}), way, show, opacity)

  def _answer(self, visit: Visit, way: str, show: str, opacity: float) -> tuple[Any, ...]:
    """What is shown of an image, which a network sees only if it has not answered yet."""
    _check_opacity(opacity)
    if self._known(way) not in visit.labelled and visit.image is not None:
      labellers, spec = self._page.ways[way], self._page.spec
      try:
        visit.labelled[way] = results.label(visit.name, visit.image, labellers, spec)
      except (MemoryError, RuntimeError) as error:
        if shortages.sentence(error) is None:
          raise
        height, width = visit.image.shape[:2]
        raise UserError(
          f'{visit.name}, {width}×{height} pixels, takes more memory than there is: reduce it and '
          'try again.'
        ) from error
      if len(visit.labelled) == len(self._page.ways):
        visit.image = None
    labelled = visit.labelled[way]
    return (
      visit,
      None,
      markup.said(_sentence(labelled)),
      self._draw(labelled, None, show, opacity),
      markup.legend(labelled, self._page.spec),
    )

  def _draw(self, labelled: Labelled, highlight: int | None, show: str, opacity: float) -> str:
    _check_opacity(opacity)
    spec, drawn = self._page.spec, []
    for answer in labelled.answers:
      if show == _CONFIDENCE:
        picture = results.confidence_map(answer, highlight=highlight)
      else:
        picture = results.overlay(
          labelled, answer, spec, opacity=opacity / 100, highlight=highlight
        )
      drawn.append(results.as_jpeg(picture))
    return markup.pictures(labelled, drawn, spec, is_confidence=show == _CONFIDENCE)


def _index(event: gr.EventData, first: int, end: int) -> int:
  """The number that a script of the page sent, or somebody else.

  Raises:
    UserError: unless it is one of first, ..., end - 1.
  """
  try:
    index = event.index
  except (AttributeError, TypeError):  # its data may be anything
    index = None
  if type(index) is not int or not first <= index < end:
    raise UserError(_NOT_OFFERED)
  return index


def _check_opacity(opacity: float) -> None:
  if not isinstance(opacity, int | float) or not 0 <= opacity <= 100:
    raise UserError(_NOT_OFFERED)


def _refused(error: UserError) -> tuple[Any, ...]:
  """What `Events._answer` returns, of which a message is all that changes."""
  return gr.skip(), gr.skip(), markup.said(str(error), is_error=True), gr.skip(), gr.skip()


def _html(content: str, name: str, script: str | None = None) -> gr.HTML:
  """A part of the page whose looks are those of style.css alone."""
  return gr.HTML(content, elem_id=name, js_on_load=script, apply_default_css=False)


def _drop_zone() -> gr.File:
  """A place for files, which stay where they were received until `uploads.take` reads them.

  Gradio would copy them once more, and fetch what is an address; of the component, only what the
  browser shows is used. (A class of one's own would make Gradio write a .pyi file beside this one.)
  """
  zone = gr.File(label='Image', file_count='single', height=130, elem_id='upload')

  async def stay(path: str | Path | None) -> str | None:
    return None if path is None else str(path)

  zone.async_move_resource_to_block_cache = stay
  zone.preprocess = lambda payload: None if payload is None else payload.path
  return zone


def _invitation(page: Page) -> str:
  return (
    f'Drop an image in, of up to {page.max_pixels // 1_000_000} million pixels. The first one '
    'takes longer, as the network is compiled for it.'
  )


def _sentence(labelled: Labelled) -> str:
  height, width = labelled.size
  told = f'{labelled.name}, {width}×{height} pixels.'
  if labelled.agreement is None:
    return told
  return f'{told} The networks agree on {markup.percent(labelled.agreement)} of them.'


def _examples(page: Page) -> str:
  pictures = [results.reduced(_read_example(path, page), _THUMBNAIL) for path in page.examples]
  names = [path.name for path in page.examples]
  return markup.examples(names, [results.as_jpeg(x) for x in pictures]) if names else ''


def _read_example(path: Path, page: Page) -> np.ndarray:
  return uploads.read(path, max_pixels=page.max_pixels, exif=page.exif)
