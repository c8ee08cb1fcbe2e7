"""Evaluation protocols as data: how an image is brought to the network, and its scores back.

A published mIoU belongs to a protocol as much as to a network. A protocol is one `Protocol`;
`engine.py` obeys any. Those of the published implementations are below.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from pspnet_jax.data.sizes import fit_size
from pspnet_jax.errors import UserError, nearest
from pspnet_jax.runtime.limits import PIXELS

Size = tuple[int, int]  # height, width
_LARGEST_SCALE = 100
_LONGEST_SIDE = 1 << 20  # pixels


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How an image is evaluated. Channel order is no part of it: importers turn BGR networks round.

  Args:
    resize: 'none' keeps the image's size; 'long_side' brings its longer side to the base size;
      'fit' makes it as large as fits a box. The aspect stays.
    base_size: (long side,), or (long side, short side) of the box.
    extra: pixels added to the long side after scaling.
    resampling: 'float' interpolates pixels with OpenCV, unrounded; 'uint8' rounds them; 'matlab' is
      MATLAB's imresize, rounded and anti-aliased when shrinking.
    scales: factors of the base size; the results of all are averaged.
    padding: where images smaller than the window get mean pixels: around them ('centre'), at bottom
      and right ('end'), or nowhere: 'none' makes the window smaller.
    window: height and width of the windows slid over an image; 'crop' is the size the network was
      trained at, 'image' runs the whole image at once.
    stride: distance of neighbouring windows as a share of their size.
    blend: whether windows that overlap weigh less towards their borders, by the square of a sine,
      so that there is no step where one ends; no published protocol does it. False: all weigh the
      same.
    flip: whether the mirrored image is averaged in.
    flip_rule: 'softmax' mirrors each window and takes the mean of both softmaxes, 'logits' the
      softmax of the sum of both logits; 'image' mirrors the image before windows are cut.
    average: what is averaged where windows overlap and resized to the image, 'softmax' or 'logits';
      the softmax of these comes last, one for each scale and flip.
    resize_back: how scores are brought to the image's size: 'opencv' is bilinear, 'matlab' is also
      anti-aliased, 'network' is the network's own rule (align_corners or not).
    absent_classes: whether classes that occur in no label and no prediction are left out of the
      mean IoU ('exclude') or count as 0 ('zero').

  Raises:
    UserError: for a value out of range; it names the value and the key.
  """

  resize: Literal['none', 'long_side', 'fit'] = 'none'
  base_size: tuple[int, ...] | None = None
  extra: int = 0
  resampling: Literal['float', 'uint8', 'matlab'] = 'float'
  scales: tuple[float, ...] = (1.0,)
  padding: Literal['centre', 'end', 'none'] = 'centre'
  window: Size | Literal['crop', 'image'] = 'crop'
  stride: float = 2 / 3
  blend: bool = False
  flip: bool = False
  flip_rule: Literal['softmax', 'logits', 'image'] = 'softmax'
  average: Literal['softmax', 'logits'] = 'softmax'
  resize_back: Literal['opencv', 'matlab', 'network'] = 'opencv'
  absent_classes: Literal['exclude', 'zero'] = 'exclude'

  def __post_init__(self):
    for name, choices in _CHOICES.items():
      if getattr(self, name) not in choices:
        raise UserError(f'{name} {getattr(self, name)!r} is none of {", ".join(choices)}.')
    if not 0 < self.stride <= 1:
      raise UserError(f'window stride {self.stride} is not in (0, 1]: change eval.stride.')
    if self.window not in ('crop', 'image') and not _whole(self.window, 2):
      raise UserError(f'window {self.window} is not a height and a width: change eval.window.')
    if isinstance(self.window, tuple) and (excess := PIXELS.exceeded_by(math.prod(self.window))):
      raise UserError(f'window {self.window} has {excess}.')
    if not self.scales or not all(0 < scale <= _LARGEST_SCALE for scale in self.scales):
      raise UserError(
        f'scales {self.scales} are not all positive and {_LARGEST_SCALE} at most: change '
        'eval.scales.'
      )
    if not 0 <= self.extra <= _LONGEST_SIDE:
      raise UserError(f'extra {self.extra} is no number of pixels that a side gets more.')
    if self.resize == 'long_side' and not _whole(self.base_size, 1):
      raise UserError(
        f'base size {self.base_size!r} is not the length of the long side: change eval.base_size '
        '(512, for ADE20K and VOC, 2048, for Cityscapes).'
      )
    if self.resize == 'fit' and not _whole(self.base_size, 2):
      raise UserError(
        f'base size {self.base_size!r} is not a long and a short side: change eval.base_size '
        '(2048,512 for ADE20K and VOC, 2048,1024 for Cityscapes).'
      )

  def scaled_size(self, size: Size, scale: float) -> Size:
    """The size an image of `size` is resized to before windows are cut."""
    height, width = size
    if self.resize == 'none':
      return max(1, round(height * scale)), max(1, round(width * scale))
    if self.resize == 'fit':
      return fit_size(size, [int(side * scale) for side in self.base_size or ()])
    [base] = self.base_size or ()
    long = round(scale * base) + self.extra
    if height > width:
      return long, max(1, round(long / height * width))
    return max(1, round(long / width * height)), long

  def window_size(self, scaled: Size, crop_size: Size) -> Size:
    """Height and width of the windows on a resized image, for a network trained at `crop_size`."""
    if self.window == 'image':
      return scaled
    return crop_size if self.window == 'crop' else self.window

  def changed(self, protocol: str | None = None, **changes: Any) -> Protocol:
    """The protocol with other values for some fields; None leaves a field as it is.

    Args:
      protocol: one of PROTOCOLS to take the rest from. A base size that this protocol has goes with
        its data, and stays where the other resizes in the same way.
      **changes: fields.

    Raises:
      UserError: if there is no such protocol, or a value is out of range.
    """
    start = self
    if protocol is not None:
      start = named(protocol)
      if self.base_size and start.base_size and len(self.base_size) == len(start.base_size):
        start = dataclasses.replace(start, base_size=self.base_size)
    given = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(start, **given)

  def describe(self, crop_size: Size) -> str:
    """Says how images are evaluated, in half a line."""
    if self.window == 'image':
      parts = ['whole images']
    else:
      height, width = self.window_size(crop_size, crop_size)
      parts = [f'windows of {height}×{width}']
    if self.base_size is not None and self.resize != 'none':
      parts.append(f'images resized to {"×".join(map(str, self.base_size))}')
    if self.scales != (1.0,):
      parts.append(f'scales {", ".join(f"{s:g}" for s in self.scales)}')
    if self.blend and self.window != 'image':
      parts.append('blended where they overlap')
    if self.flip:
      parts.append('averaged with the mirror image')
    return ', '.join(parts)


def _whole(values: object, count: int) -> bool:
  return (
    isinstance(values, tuple)
    and len(values) == count
    and all(isinstance(x, int) and 1 <= x <= _LONGEST_SIDE for x in values)
  )


_CHOICES = {
  'resize': ('none', 'long_side', 'fit'),
  'resampling': ('float', 'uint8', 'matlab'),
  'padding': ('centre', 'end', 'none'),
  'flip_rule': ('softmax', 'logits', 'image'),
  'average': ('softmax', 'logits'),
  'resize_back': ('opencv', 'matlab', 'network'),
  'absent_classes': ('exclude', 'zero'),
}

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # what every published multi-scale figure uses

# Images at their own size, windows of the training crop: quick, and what training validates with.
PLAIN = Protocol()

# hszhao/semseg, tool/test.py and util/util.py. "Single scale" flips too. Its configs have a base
# size of 512 for ADE20K and VOC 2012, and 2048 for Cityscapes.
SEMSEG = Protocol(resize='long_side', base_size=(512,), flip=True, absent_classes='zero')

# hszhao/PSPNet, evaluation/{eval_sub,scale_process,caffe_process,pre_img,eval_acc}.m.
CAFFE = Protocol(
  resize='long_side',
  base_size=(512,),
  extra=1,
  resampling='matlab',
  padding='end',
  flip=True,
  flip_rule='logits',
  resize_back='matlab',
  absent_classes='zero',
)

# open-mmlab/mmsegmentation, models/segmentors/encoder_decoder.py, and the boxes of its configs:
# (2048, 512) for ADE20K and VOC 2012, (2048, 1024) for Cityscapes. Multi-scale figures flip too.
MMSEG = Protocol(
  resize='fit',
  base_size=(2048, 512),
  resampling='uint8',
  padding='none',
  window='image',
  flip_rule='image',
  average='logits',
  resize_back='network',
)
# Its configs of 769×769 slide windows.
MMSEG_SLIDE = dataclasses.replace(MMSEG, window='crop', stride=513 / 769)

PROTOCOLS = {
  'plain': PLAIN,
  'semseg': SEMSEG,
  'caffe': CAFFE,
  'mmseg': MMSEG,
  'mmseg_slide': MMSEG_SLIDE,
}


def named(name: str) -> Protocol:
  """A protocol of PROTOCOLS; UserError with the nearest name if there is none."""
  if name not in PROTOCOLS:
    near = nearest(name, PROTOCOLS)
    hint = f'did you mean {near}?' if near else f'there are {", ".join(PROTOCOLS)}.'
    raise UserError(f'there is no evaluation protocol {name!r}: {hint}')
  return PROTOCOLS[name]
