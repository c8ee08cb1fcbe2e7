"""HTML of the page: pictures, legend, messages. Whatever comes from elsewhere is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import PurePath

from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.pictures.labels import full_palette
from pspnet_jax.runtime.plain_text import printable
from pspnet_jax.web.results import Answer, Labelled, as_data_url

_IN_ALT = 5  # classes that the text for a picture names
# Gradio fills templates in what it shows, and these are what they are made of.
_OF_TEMPLATES = str.maketrans({c: f'&#{ord(c)};' for c in '$`{}\\'})

NO_PICTURE = '<p class="empty">The picture will stand here.</p>'
# A click on a class shows it alone, another shows all again. The answer to `select` is a picture
# somewhere else, so that these buttons stay, and the keyboard's focus with them.
LEGEND_SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-class]');
  if (!button) return;
  const on = button.getAttribute('aria-pressed') !== 'true';
  for (const other of element.querySelectorAll('button[data-class]'))
    other.setAttribute('aria-pressed', String(on && other === button));
  trigger('select', {index: on ? Number(button.dataset.class) : -1});
});
"""
EXAMPLES_SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-example]');
  if (button) trigger('select', {index: Number(button.dataset.example)});
});
"""


def escaped(text: str) -> str:
  """The text for HTML that goes through Gradio's templates: it is shown as it is."""
  return html.escape(printable(text)).translate(_OF_TEMPLATES)


def heading(title: str, lines: Sequence[str]) -> str:
  """The name of the network over what there is to know of it."""
  return f'<h1>{escaped(title)}</h1>' + ''.join(f'<p>{escaped(line)}</p>' for line in lines)


def said(text: str, *, is_error: bool = False) -> str:
  """A sentence that screen readers read out at once."""
  role, kind = ('alert', 'error') if is_error else ('status', 'note')
  return f'<p role="{role}" class="{kind}">{escaped(text)}</p>'


def pictures(
  labelled: Labelled, drawn: Sequence[bytes], spec: DatasetSpec, *, is_confidence: bool
) -> str:
  """The pictures of all answers, side by side where there is room.

  Args:
    labelled: the image and the answers.
    drawn: a JPEG file for each answer.
    spec: says what the ids mean.
    is_confidence: whether confidence is drawn, and not the classes.
  """
  figures = []
  what, scale = ('Confidence', ' (black 0%, white 100%)') if is_confidence else ('Classes', '')
  for answer, content in zip(labelled.answers, drawn, strict=True):
    alt = f'{what} of {labelled.name} by {answer.name}: {_in_words(answer, spec)}'
    height, width = labelled.picture.shape[:2]
    caption = f'{answer.name}: mean confidence {percent(answer.mean_confidence)}{scale}'
    figures.append(
      f'<figure><img alt="{escaped(alt)}" width="{width}" height="{height}" '
      f'src="{as_data_url(content, "image/jpeg")}"><figcaption>{escaped(caption)}</figcaption>'
      '</figure>'
    )
  return f'<div class="figures" data-count="{len(figures)}">{"".join(figures)}</div>'


def legend(labelled: Labelled, spec: DatasetSpec) -> str:
  """The classes that occur, with their areas, as buttons, and the labels to download."""
  several = len(labelled.answers) > 1
  palette = full_palette(spec)
  names = ''.join(f'<th scope="col">{_breakable(answer.name)}</th>' for answer in labelled.answers)
  head = f'<thead><tr><th scope="col">Class</th>{names}</tr></thead>' if several else ''
  rows = []
  for i in labelled.classes:
    red, green, blue = palette[i].tolist()
    swatch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
    name = 'ignored' if i == IGNORE_LABEL else spec.class_names[i]
    about = f'type="button" data-class="{i}" aria-pressed="false"'
    button = f'<button {about}>{swatch}{escaped(name)}</button>'
    cells = ''.join(f'<td>{percent(answer.share(i))}</td>' for answer in labelled.answers)
    rows.append(f'<tr><th scope="row">{button}</th>{cells}</tr>')
  links = ''.join(_download(labelled, answer, several) for answer in labelled.answers)
  return (
    '<h2>Classes</h2><p>Press a class to see it alone.</p>'
    f'<table>{head}<tbody>{"".join(rows)}</tbody></table>{links}'
  )


def examples(names: Sequence[str], thumbnails: Sequence[bytes]) -> str:
  """Buttons with a small picture, JPEG, of each example."""
  buttons = ''.join(
    f'<button type="button" data-example="{i}" title="{escaped(name)}">'
    f'<img alt="Example {escaped(name)}" src="{as_data_url(content, "image/jpeg")}"></button>'
    for i, (name, content) in enumerate(zip(names, thumbnails, strict=True))
  )
  return f'<h2>Examples</h2><div class="examples">{buttons}</div>'


def percent(share: float) -> str:
  """A share of 1 in percent, for people."""
  return f'{100 * share:.1f}%' if share >= 0.0005 or not share else '<0.1%'


def _breakable(name: str) -> str:
  """A name of a file or a folder that may go on in a new line where its words end."""
  return ''.join(f'{escaped(c)}<wbr>' if c in '_-./' else escaped(c) for c in name)


def _in_words(answer: Answer, spec: DatasetSpec) -> str:
  order = sorted(range(spec.num_classes), key=lambda i: -answer.counts[i])
  there = [i for i in order if answer.counts[i]]
  words = [f'{spec.class_names[i]} {percent(answer.share(i))}' for i in there[:_IN_ALT]]
  more = len(there) - len(words)
  return ', '.join(words) + (f' and {more} more' if more else '')


def _download(labelled: Labelled, answer: Answer, several: bool) -> str:
  stem = PurePath(labelled.name).stem or 'label'
  file_name = f'{stem}_{answer.name}.png' if several else f'{stem}.png'
  of = f', {answer.name}' if several else ''
  return (
    f'<p><a class="download" download="{escaped(file_name)}" '
    f'href="{as_data_url(answer.png, "image/png")}">Download the label{escaped(of)}</a></p>'
  )
