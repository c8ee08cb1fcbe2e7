"""Shows labels to people: in colour, over the image, side by side with a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.pictures import legends
from pspnet_jax.pictures import outlines as outlining
from pspnet_jax.pictures.legends import PAPER, LegendEntry

# Ignored pixels have the first of these that lies far from the colours of all classes.
_IGNORE_COLOURS = ((0, 0, 0), (255, 255, 255), (255, 0, 255), (0, 255, 255), (127, 127, 127))
_FAR = 64  # of 441, the distance of black and white
_MIN_WIDTH = 384  # a picture with a legend is no narrower: a name takes some room


def colour(label: np.ndarray, spec: DatasetSpec) -> np.ndarray:
  """Colours a label with the palette, and ignored pixels with `ignore_colour`.

  Args:
    label: integers [H, W]: class ids and 255.
    spec: says what the ids mean.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: if the label holds an id without a class, or the palette is no list of RGB colours.
  """
  return full_palette(spec)[checked(label, spec)]


def ignore_colour(spec: DatasetSpec) -> tuple[int, int, int]:
  """The colour of ignored pixels: black, or another where a class is about as dark."""

  def distance(colour: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(np.subtract(spec.palette, colour), axis=1).min())

  far = (colour for colour in _IGNORE_COLOURS if distance(colour) >= _FAR)
  return next(far, None) or max(_IGNORE_COLOURS, key=distance)


def overlay(
  image: np.ndarray,
  label: np.ndarray,
  spec: DatasetSpec,
  alpha: float = 0.5,
  legend: bool = True,
  *,
  outlines: bool = True,
  highlight: Sequence[int] | None = None,
) -> np.ndarray:
  """Lays the colours of a label over the image; ignored pixels show it darkened, or brightened.

  Args:
    image: uint8 [H, W, 3].
    label: integers [H, W]: class ids and 255.
    spec: says what the ids mean.
    alpha: weight of the colours, 0 to 1.
    legend: whether to add the classes present with their share of the pixels, below. A small
      image is then enlarged by a whole factor, so that the text has room. Where there are too
      many classes, the rarest are only counted.
    outlines: whether lines part the classes; they fade with the colours below an alpha of one half.
    highlight: ids of classes to show alone, in the legend too; the others are a grey image. None:
      all classes.

  Returns:
    uint8 [H, W, 3] without a legend, a larger picture with one.

  Raises:
    UserError: what `colour` raises, or if the sizes differ, alpha is out of range or a class to
      highlight is none.
  """
  if not 0 <= alpha <= 1:
    raise UserError(f'{alpha=} must lie between 0 and 1.')
  for i in highlight or ():
    if not 0 <= i < spec.num_classes:
      raise UserError(f'highlight={i} is no class: ids are 0 to {spec.num_classes - 1}.')
  _check_image(image, label)
  palette, shown = full_palette(spec), checked(label, spec)
  listed = range(256) if highlight is None else highlight
  entries = _present([shown], spec, shares=True, only=listed) if legend else []
  if legend:
    image, shown = (_enlarge(x, _MIN_WIDTH) for x in (image, shown))
  colours = palette[shown]
  if highlight is not None:
    others = ~np.isin(shown, list(highlight))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = np.where(others[..., None], grey, image)
    np.copyto(colours, grey, where=others[..., None])
    shown = np.where(others, IGNORE_LABEL, shown)
  mixed = cv2.addWeighted(image, 1 - alpha, colours, alpha, 0)  # [H, W, 3]
  if outlines:
    mixed = outlining.draw(mixed, shown, min(1, 2 * alpha))
  if not legend:
    return mixed
  mixed = _widen(mixed, _MIN_WIDTH)
  size = legends.text_size(mixed.shape[1])
  return np.concatenate([mixed, legends.draw(entries, mixed.shape, size)])


def all_classes(spec: DatasetSpec, width: int) -> np.ndarray:
  """A legend of every class in their order, to go below a picture: uint8 [h, width, 3]."""
  palette = full_palette(spec).tolist()
  entries = [LegendEntry(name, '', tuple(palette[i])) for i, name in enumerate(spec.class_names)]
  return legends.draw(entries, (width, width), legends.text_size(width))


def confidence_map(confidence: np.ndarray) -> np.ndarray:
  """Shows how sure a label is: black where the probability of its class is 0, white where it is 1.

  Args:
    confidence: float32 [H, W], 0 to 1.

  Returns:
    uint8 [H, W, 3], grey; of 255, what the probability is of 1.

  Raises:
    UserError: if it is not floating-point [H, W].
  """
  if confidence.ndim != 2 or not np.issubdtype(confidence.dtype, np.floating):
    raise UserError(f'a confidence of {confidence.dtype} {list(confidence.shape)} is not [H, W].')
  grey = np.round(255 * np.clip(confidence, 0, 1)).astype(np.uint8)
  return np.repeat(grey[..., None], 3, -1)


def panel(
  image: np.ndarray | Sequence[np.ndarray],
  label: np.ndarray | Sequence[np.ndarray] | None,
  prediction: np.ndarray | Sequence[np.ndarray],
  spec: DatasetSpec,
  *,
  names: Sequence[str] = (),
  titles: tuple[str, str, str] = ('image', 'label', 'prediction'),
  max_side: int = 1024,
) -> np.ndarray:
  """Sets image, label and prediction side by side over one legend; a row for each image.

  Args:
    image: uint8 [H, W, 3], or several: [N, H, W, 3] or a sequence of them of any sizes.
    label: integers [H, W] or as many as there are images; None leaves the column out.
    prediction: like `label`.
    spec: says what the ids mean.
    names: what stands over each row, if anything.
    titles: what stands over the columns.
    max_side: larger images are reduced to this many pixels; small ones are enlarged.

  Returns:
    uint8 [h, w, 3].

  Raises:
    UserError: what `colour` raises, or if sizes or numbers differ.
  """
  if label is None:
    return side_by_side(image, {titles[2]: prediction}, spec, names, titles[0], max_side)
  maps = {titles[1]: label, titles[2]: prediction}
  return side_by_side(image, maps, spec, names, titles[0], max_side)


def side_by_side(
  image: np.ndarray | Sequence[np.ndarray],
  labels: Mapping[str, np.ndarray | Sequence[np.ndarray]],
  spec: DatasetSpec,
  names: Sequence[str] = (),
  title: str = 'image',
  max_side: int = 1024,
) -> np.ndarray:
  """Sets images beside any number of labels of them, each under its title; see `panel`."""
  images, maps = _several(image, 3), [_several(label, 2) for label in labels.values()]
  shown = [title, *labels]
  counts = {len(images), len(names or images), *map(len, maps)}
  if len(counts) > 1 or not images:
    raise UserError(f'images, labels, predictions and names differ in number ({sorted(counts)}).')
  rows: list[list[np.ndarray]] = []
  for i, picture in enumerate(images):
    for column in maps:
      _check_image(picture, column[i])
    row = [picture, *(colour(column[i], spec) for column in maps)]
    rows.append([_fit(cell, max_side, smooth=j == 0) for j, cell in enumerate(row)])

  cell_width = max(_MIN_WIDTH // len(shown), *(row[0].shape[1] for row in rows))
  size = legends.text_size(cell_width * 3 // 2)
  gap = size // 2
  width = len(shown) * cell_width + (len(shown) - 1) * gap
  parts = [legends.headings(shown, cell_width, gap, size)]
  for i, row in enumerate(rows):
    if names:
      parts.append(legends.line(names[i], width, size))
    strip = np.full((row[0].shape[0] + gap, width, 3), PAPER, np.uint8)
    for j, cell in enumerate(row):
      left = j * (cell_width + gap)
      strip[: cell.shape[0], left : left + cell_width] = _widen(cell, cell_width)
    parts.append(strip)
  entries = _present([m for column in maps for m in column], spec, shares=False)
  height = sum(part.shape[0] for part in parts)
  return np.concatenate([*parts, legends.draw(entries, (height, width), size)])


def full_palette(spec: DatasetSpec) -> np.ndarray:
  """Returns the colour of every id, uint8 [256, 3]; ids of no class have that of ignored pixels."""
  palette = np.full((256, 3), ignore_colour(spec), np.uint8)
  palette[: spec.num_classes] = spec.palette
  return palette


def checked(label: np.ndarray, spec: DatasetSpec) -> np.ndarray:
  """Returns the label as uint8 [H, W] if it holds nothing strange."""
  if label.ndim != 2 or not np.issubdtype(label.dtype, np.integer):
    raise UserError(f'a label of {label.dtype} {list(label.shape)} is not integers [H, W].')
  strange = np.unique(label[((label < 0) | (label >= spec.num_classes)) & (label != IGNORE_LABEL)])
  if strange.size:
    raise UserError(
      f'label id {strange[0]} has no class: ids are 0 to {spec.num_classes - 1}, '
      f'and {IGNORE_LABEL} for ignored pixels.'
    )
  return label.astype(np.uint8)


def _check_image(image: np.ndarray, label: np.ndarray) -> None:
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
    raise UserError(f'an image of {image.dtype} {list(image.shape)} is not uint8 [H, W, 3].')
  if image.shape[:2] != label.shape:
    raise UserError(f'image {list(image.shape[:2])} and label {list(label.shape)} differ in size.')


def _several(arrays: np.ndarray | Sequence[np.ndarray], ndim: int) -> list[np.ndarray]:
  if isinstance(arrays, np.ndarray) and arrays.ndim == ndim:
    return [arrays]
  return [np.asarray(array) for array in arrays]


def _enlarge(picture: np.ndarray, side: int) -> np.ndarray:
  """Enlarges by the least whole factor that brings the shorter side to `side`, repeating pixels."""
  factor = max(1, -(-side // min(picture.shape[:2])))
  factor = max(1, min(factor, 2 * side // max(picture.shape[:2])))  # a narrow strip stays handy
  return picture if factor == 1 else picture.repeat(factor, 0).repeat(factor, 1)


def _widen(picture: np.ndarray, width: int) -> np.ndarray:
  """Centres the picture on paper if it is narrower than `width`."""
  missing = max(0, width - picture.shape[1])
  wide = np.full((picture.shape[0], picture.shape[1] + missing, 3), PAPER, np.uint8)
  wide[:, missing // 2 : missing // 2 + picture.shape[1]] = picture
  return wide


def _fit(picture: np.ndarray, max_side: int, *, smooth: bool) -> np.ndarray:
  height, width = picture.shape[:2]
  if max(height, width) <= max_side:
    return _enlarge(picture, min(256, max_side))
  scale = max_side / max(height, width)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  method = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
  return np.asarray(Image.fromarray(picture).resize(size, method))


def _present(
  labels: Sequence[np.ndarray],
  spec: DatasetSpec,
  *,
  shares: bool,
  only: Sequence[int] = range(256),
) -> list[LegendEntry]:
  """Lists those classes of `only` that occur, the most frequent first, ignored pixels last."""
  counts = np.zeros(256, np.int64)
  for label in labels:
    counts += np.bincount(label.ravel(), minlength=256)
  order = sorted(np.flatnonzero(counts), key=lambda i: (i == IGNORE_LABEL, -counts[i]))
  palette = full_palette(spec)
  entries = []
  for i in (i for i in order if i in only):
    name = 'ignored' if i == IGNORE_LABEL else spec.class_names[i]
    percent = 100 * counts[i] / counts.sum()
    share = f'{percent:.1f}%' if percent >= 0.05 else '<0.1%'
    red, green, blue = palette[i].tolist()
    entries.append(LegendEntry(name, share if shares else '', (red, green, blue)))
  return entries
