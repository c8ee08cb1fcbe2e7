"""What networks say of an image, kept so that the page can be drawn again without running them."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Sequence
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures import labels
from pspnet_jax.pictures.png_files import label_as_png

MAX_SIDE = 1280  # of a picture on the page, in pixels; labels to download have the image's size
_NOT_MEANT = (44, 62, 110)  # blue, which no confidence is

# uint8 [H, W, 3] -> the label, uint8 [H, W], and the confidence, float32 [H, W].
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Labeller:
  """A network, or several together, as the page knows it.

  Attributes:
    name: short, and different from that of the others.
    run: labels an image.
  """

  name: str
  run: Run


@dataclasses.dataclass(frozen=True)
class Answer:
  """What one labeller made of the image.

  Attributes:
    name: of the labeller.
    label: uint8 [h, w], of the size of the picture.
    confidence: float32 [h, w], likewise.
    counts: int64 [256]: pixels of each id, of the label in its full size.
    mean_confidence: over all pixels, 0 to 1.
    png: the label in its full size, as a file.
  """

  name: str
  label: np.ndarray
  confidence: np.ndarray
  counts: np.ndarray
  mean_confidence: float
  png: bytes

  def share(self, class_id: int) -> float:
    """The share of the image's pixels that have this class."""
    return float(self.counts[class_id] / self.counts.sum())


@dataclasses.dataclass(frozen=True)
class Labelled:
  """An image with what was said of it; of no more bytes than a picture of the page has.

  Attributes:
    name: of the image's file.
    size: height and width of the image.
    picture: uint8 [h, w, 3]: the image in the size in which it is shown.
    answers: of each labeller.
    agreement: the share of pixels to which all of several give the same class.
  """

  name: str
  size: tuple[int, int]
  picture: np.ndarray
  answers: tuple[Answer, ...]
  agreement: float | None

  @property
  def classes(self) -> list[int]:
    """The classes that occur in any answer, the largest area first."""
    counts = np.sum([answer.counts for answer in self.answers], axis=0)
    return sorted(np.flatnonzero(counts).tolist(), key=lambda i: -counts[i])


def label(
  name: str, image: np.ndarray, labellers: Sequence[Labeller], spec: DatasetSpec
) -> Labelled:
  """Has every labeller label an image, uint8 [H, W, 3]."""
  picture = _shown(image, cv2.INTER_AREA)
  answers, first, same = [], None, None
  for labeller in labellers:
    ids, confidence = labeller.run(image)
    if first is None:
      first, same = ids, np.ones(ids.shape, bool)
    same &= ids == first
    answers.append(
      Answer(
        labeller.name,
        _shown(ids, cv2.INTER_NEAREST),
        _shown(confidence, cv2.INTER_AREA),
        np.bincount(ids.ravel(), minlength=256),
        float(confidence.mean(dtype=np.float64)),
        label_as_png(ids, spec),
      )
    )
  height, width = image.shape[:2]
  agreement = float(same.mean()) if same is not None and len(answers) > 1 else None
  return Labelled(name, (height, width), picture, tuple(answers), agreement)


def overlay(
  labelled: Labelled, answer: Answer, spec: DatasetSpec, *, opacity: float, highlight: int | None
) -> np.ndarray:
  """The image under the colours of one answer, uint8 [h, w, 3]; see `pictures.labels.overlay`."""
  return labels.overlay(
    labelled.picture,
    answer.label,
    spec,
    opacity,
    legend=False,
    outlines=True,
    highlight=None if highlight is None else [highlight],
  )


def confidence_map(answer: Answer, *, highlight: int | None) -> np.ndarray:
  """How sure an answer is, uint8 [h, w, 3]: black 0, white 1; blue where it is another class."""
  picture = labels.confidence_map(answer.confidence)
  if highlight is not None:
    picture[answer.label != highlight] = _NOT_MEANT
  return picture


def as_data_url(content: bytes, kind: str) -> str:
  """A file that stands in the page itself: there is no other to keep or to delete."""
  return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def as_jpeg(picture: np.ndarray) -> bytes:
  """The content of a JPEG file of a picture, uint8 [h, w, 3]."""
  file = BytesIO()
  # Colours as they are: JPEG would halve their resolution, and outlines would fray.
  Image.fromarray(picture).save(file, 'JPEG', quality=90, subsampling=0)
  return file.getvalue()


def reduced(array: np.ndarray, side: int = MAX_SIDE, method: int = cv2.INTER_AREA) -> np.ndarray:
  """An array [H, W] or [H, W, 3] with no side longer than `side`; smaller ones as they are."""
  longest = max(array.shape[:2])
  if longest <= side:
    return array
  height, width = (max(1, round(x * side / longest)) for x in array.shape[:2])
  return cv2.resize(array, (width, height), interpolation=method)


def _shown(array: np.ndarray, method: int) -> np.ndarray:
  """An array [H, W] or [H, W, 3] in the size of the picture; a small one by a whole factor."""
  factor = max(1, MAX_SIDE // max(array.shape[:2]))
  return reduced(array, method=method).repeat(factor, 0).repeat(factor, 1)
