"""The README.md of a packed folder: a model card, as Hugging Face's Hub shows it.

Names of classes, titles and whatever else comes from somebody are text in it, never markup. The
header is that of https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pspnet_jax
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.runtime.plain_text import in_markdown, printable
from pspnet_jax.weights.loaded import Loaded
from pspnet_jax.weights.packed_config import About, Figure

PICTURES = {
  'example.png': 'a photograph with the classes that the network finds in it',
  'predictions.png': 'images of the validation data, their labels, and what the network answers',
  'classes.png': 'the name and the colour of each class',
}
_HUB_METRICS = {'mIoU': 'mean_iou', 'mAcc': 'mean_accuracy', 'aAcc': 'accuracy'}


def text_of(
  network: Loaded,
  about: About,
  pictures: Collection[str],
  *,
  settings: Sequence[str] = (),
  where: str | None = None,
) -> str:
  """Writes the model card.

  Args:
    network: whose it is.
    about: what else is said of it.
    pictures: which of `PICTURES` lie beside it.
    settings: those of its training, as flags.
    where: its address on the Hub, hf://OWNER/NAME, if it has one.
  """
  card = network.card
  parts = [
    _header(card, about),
    f'# {in_markdown(about.title)}\n',
    _introduction(network),
    *(_picture(name) for name in ('example.png', 'predictions.png') if name in pictures),
    '## Use it\n',
    _use(card, where),
    '## Figures\n',
    _figures(about.figures),
    '## Classes\n',
    _classes(card, about.figures),
    *(_picture(name) for name in ('classes.png',) if name in pictures),
    '## How images are labelled\n',
    _protocol(card),
    '## Where the weights come from\n',
    _origin(network, settings),
    '## License\n',
    _license(about.license),
    '## Files\n',
    '`model.safetensors` holds the parameters and the statistics of batch normalisation, kernels '
    'as [height, width, in, out]. `config.json` holds all that is needed to use them, and a '
    'SHA-256 of each array, which is verified whenever they are loaded.\n',
  ]
  return '\n'.join(parts)


def _header(card: Card, about: About) -> str:
  lines = [
    '---',
    f'license: {_quoted(about.license or "unknown")}',
    'library_name: pspnet_jax',
    'pipeline_tag: image-segmentation',
    'tags:',
    *(f'- {tag}' for tag in ('pspnet', 'semantic-segmentation', 'scene-parsing', 'jax', 'flax')),
  ]
  sound = [figure for figure in about.figures if figure.caveat is None]  # the Hub ranks by them
  known = [(f, {n: v for n, v in f.values.items() if n in _HUB_METRICS}) for f in sound]
  if known := [(figure, values) for figure, values in known if values]:
    lines += [
      'metrics:',
      *(f'- {metric}' for name, metric in _HUB_METRICS.items() if any(name in v for _, v in known)),
      'model-index:',
      f'- name: {_quoted(about.title)}',
      '  results:',
    ]
    for figure, values in known:
      lines += [
        '  - task:',
        '      type: image-segmentation',
        '      name: Semantic segmentation',
        '    dataset:',
        f'      type: {_quoted(figure.data)}',
        f'      name: {_quoted(_measured_on(figure))}',
        '    metrics:',
      ]
      for name, value in values.items():
        lines += [
          f'    - type: {_HUB_METRICS[name]}',
          f'      name: {_quoted(f"{name}, {figure.how}")}',
          f'      value: {round(value, 6)!r}',
        ]
  return '\n'.join([*lines, '---', ''])


def _measured_on(figure: Figure) -> str:
  return f'{figure.data}, {figure.which}' if figure.which else figure.data


def _quoted(text: str) -> str:
  """A text for YAML, of which a string of JSON is one."""
  return json.dumps(printable(text), ensure_ascii=False)


def _introduction(network: Loaded) -> str:
  card = network.card
  count = sum(
    math.prod(x.shape) for name, x in network.params.items() if not name.startswith('aux_head/')
  )
  name = in_markdown(card.title)
  if card.network.get('name', PSPNET) == PSPNET:
    name += ' ([Zhao et al., CVPR 2017](https://arxiv.org/abs/1612.01105))'
  parameters = f'{count / 1e6:.1f} million' if count >= 1e6 else f'{count:,}'
  return (
    f'{name} for semantic segmentation, with {card.spec.num_classes} classes and {parameters} '
    f'parameters. Packed by pspnet_jax {pspnet_jax.__version__}.\n'
  )


def _picture(name: str) -> str:
  return f'![{PICTURES[name]}]({name})\n'


def _use(card: Card, where: str | None) -> str:
  location = where or 'FOLDER'
  extra = "'pspnet_jax[hub]'" if where else 'pspnet_jax'
  own = card.network.get('name', PSPNET)
  flag, argument = ('', '') if own == PSPNET else (' --model=MODULE:CLASS', ', model=CLASS')
  lines = [
    '```',
    f'pip install {extra}',
    f'pspnet predict --workdir={location}{flag} --input=FILE_OR_FOLDER --output=DIR',
    '```\n',
    '```python',
    'import pspnet_jax',
    '',
    f"model = pspnet_jax.load('{location}'{argument})",
    "label = model('street.jpg')  # class ids, uint8 [H, W]",
    "shares = model.areas('street.jpg')  # share of the pixels of each class, by its name",
    "picture = model.overlay('street.jpg')  # uint8 [h, w, 3]",
    '```\n',
  ]
  if not where:
    lines.append('FOLDER is the folder that this file lies in.\n')
  if own != PSPNET:
    lines.append(
      f'The network is not one of pspnet_jax, but {in_markdown(str(own))}: its code is not here, '
      'and is imported only if you name it.\n'
    )
  return '\n'.join(lines)


def _figures(figures: Sequence[Figure]) -> str:
  if not figures:
    return 'None were measured.\n'
  names = list(dict.fromkeys(name for figure in figures for name in figure.values))
  lines = [
    f'| data | {" | ".join(f"{in_markdown(name)} %" for name in names)} | how |',
    f'| --- | {" | ".join(["---:"] * len(names))} | --- |',
  ]
  for figure in figures:
    values = [_percent(figure.values.get(name)) for name in names]
    how = in_markdown(figure.how)
    if figure.caveat is not None:
      how += f'. **{in_markdown(figure.caveat)}**'
    lines.append(f'| {in_markdown(_measured_on(figure))} | {" | ".join(values)} | {how} |')
  return '\n'.join([*lines, ''])


def _percent(value: float | None) -> str:
  return '-' if value is None else f'{100 * value:.2f}'


def _classes(card: Card, figures: Sequence[Figure]) -> str:
  known: Mapping[str, float | None] = next(
    (f.classes for f in figures if f.classes and f.caveat is None), {}
  )
  measured = ' IoU % |' if known else ''
  lines = [f'| id | class | colour |{measured}', f'| ---: | --- | --- |{" ---: |" * bool(known)}']
  for i, (name, colour) in enumerate(zip(card.spec.class_names, card.spec.palette, strict=True)):
    iou = f' {_percent(known.get(name))} |' if known else ''
    lines.append(f'| {i} | {in_markdown(name)} | #{bytes(colour).hex()} |{iou}')
  return '\n'.join([*lines, ''])


def _protocol(card: Card) -> str:
  held = {'upright': 'turned upright as their EXIF data say', 'stored': 'taken as they are stored'}
  height, width = card.crop_size
  return (
    f'Trained on crops of {height}×{width} pixels. Evaluated on '
    f'{card.protocol.describe(card.crop_size)}; files are {held[card.exif]}. Pixels are RGB, '
    f'less a mean of {_numbers(card.mean)}, over {_numbers(card.std)}. `predict` and `evaluate` do '
    'so by themselves.\n'
  )


def _numbers(values: Sequence[float]) -> str:
  return f'({", ".join(f"{x:g}" for x in values)})'


def _origin(network: Loaded, settings: Sequence[str]) -> str:
  lines = [f'Step {network.step:,}{network.kind}.\n']
  if network.card.source is not None:
    lines += _source(network.card.source)
  if settings:
    lines += ['Trained with pspnet_jax; its settings, as far as they are not the defaults:\n']
    lines += [f'    {printable(line)}' for line in settings] + ['']
  if network.card.source is None and not settings:
    lines.append('Nothing is known of the data that they were trained on.\n')
  return '\n'.join(lines)


def _source(source: Mapping[str, Any]) -> list[str]:
  """What a conversion knows of the files that it read."""
  lines = [f'Converted from {in_markdown(str(source.get("name")))}.\n']
  if source.get('zoo'):
    address = source.get('address')
    named = f'Published as {in_markdown(str(source["zoo"]))}'
    lines.append(f'{named}{f" at {in_markdown(str(address))}" if address else ""}.\n')
  files = source.get('files')
  if isinstance(files, Mapping):
    lines += [f'- {in_markdown(str(k))}: {in_markdown(str(x))}' for k, x in files.items()] + ['']
  notes = source.get('notes')
  if isinstance(notes, Sequence) and not isinstance(notes, str):
    lines += [f'- {in_markdown(str(note))}' for note in notes] + ['']
  return lines


def _license(known: str | None) -> str:
  if known is None:
    return (
      'Nobody has said under which license these weights may be used: ask whoever published them.\n'
    )
  return (
    f'{in_markdown(known)}. Data sets have terms of their own, which may bear on what was trained '
    'on them.\n'
  )
