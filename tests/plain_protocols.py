"""The published evaluations, window by window on the host, written out on their own.

Each takes an image uint8 [H, W, 3] and `logits`, a function from float32 pixels [h, w, 3] (RGB,
0-255, any sizes) to the network's float [h, w, C], and returns probabilities float64 [H, W, C].
"""

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def mirror(x):
  return x[:, ::-1]


def grid(size, crop):
  """Ends of windows as semseg and Caffe count them."""
  stride = math.ceil(crop * 2 / 3)
  return [min(i * stride + crop, size) for i in range(math.ceil((size - crop) / stride) + 1)]


def semseg(image, logits, *, mean, crop, base_size, scales):
  """tool/test.py: test, scale_process and net_process."""
  h, w = image.shape[:2]
  image = image.astype(np.float32)
  total = 0
  for scale in scales:
    long = round(scale * base_size)
    new_h, new_w = (long, round(long / h * w)) if h > w else (round(long / w * h), long)
    scaled = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    pad_h, pad_w = max(crop[0] - new_h, 0), max(crop[1] - new_w, 0)
    top, left = pad_h // 2, pad_w // 2
    sides = (top, pad_h - top, left, pad_w - left)
    scaled = cv2.copyMakeBorder(scaled, *sides, cv2.BORDER_CONSTANT, value=mean)
    scores, count = 0.0, np.zeros((*scaled.shape[:2], 1))
    for y in grid(scaled.shape[0], crop[0]):
      for x in grid(scaled.shape[1], crop[1]):
        where = np.s_[y - crop[0] : y, x - crop[1] : x]
        piece = scaled[where]
        here = (softmax(logits(piece)) + mirror(softmax(logits(mirror(piece))))) / 2
        if isinstance(scores, float):
          scores = np.zeros((*scaled.shape[:2], here.shape[-1]))
        scores[where] += here
        count[where] += 1
    scores = (scores / count)[top : top + new_h, left : left + new_w]
    total = total + cv2.resize(scores, (w, h), interpolation=cv2.INTER_LINEAR)
  return total / len(scales)


def imresize_axis(x, size):
  """MATLAB's imresize of the first axis, bilinear: one output row after the other, from 1."""
  n, scale = x.shape[0], size / x.shape[0]
  width = 2 / min(scale, 1)
  rows = []
  for out in range(1, size + 1):
    u = out / scale + 0.5 * (1 - 1 / scale)
    first = math.floor(u - width / 2)
    taps = range(first, first + math.ceil(width) + 2)
    weights = np.array([max(0, 1 - abs(u - i) * min(scale, 1)) for i in taps])
    weights /= weights.sum()
    inside = [(i - 1) % (2 * n) for i in taps]
    rows.append(
      sum(
        weight * x[i if i < n else 2 * n - 1 - i] for i, weight in zip(inside, weights, strict=True)
      )
    )
  rows = np.stack(rows)
  return np.floor(rows + 0.5).clip(0, 255).astype(np.uint8) if x.dtype == np.uint8 else rows


def imresize(x, size):
  for axis in sorted((0, 1), key=lambda a: size[a] / x.shape[a]):
    if size[axis] != x.shape[axis]:
      x = np.moveaxis(imresize_axis(np.moveaxis(x, axis, 0), size[axis]), 0, axis)
  return x


def caffe(image, logits, *, mean, crop, base_size, scales):
  """evaluation/{eval_sub,scale_process,caffe_process,pre_img}.m, for a square crop."""
  [crop] = set(crop)
  h, w = image.shape[:2]

  def process(piece):  # pre_img pads what is smaller with the mean, in single precision
    rows, columns = piece.shape[:2]
    padded = np.tile(np.float32(mean), (max(rows, crop), max(columns, crop), 1))
    padded[:rows, :columns] = piece
    return softmax(logits(padded) + mirror(logits(mirror(padded))))

  total = 0
  for scale in scales:
    long = int(base_size * scale) + 1
    if h > w:
      new = long, math.floor(long / h * w + 0.5)
    else:
      new = math.floor(long / w * h + 0.5), long
    scaled = imresize(image, new)
    if long <= crop:
      scores = process(scaled)[: new[0], : new[1]]
    else:
      rows, columns = max(new[0], crop), max(new[1], crop)
      padded = np.tile(np.round(mean).astype(np.uint8), (rows, columns, 1))  # uint8 stays uint8
      padded[: new[0], : new[1]] = scaled
      scores, count = None, np.zeros((rows, columns, 1))
      for y in grid(rows, crop):
        for x in grid(columns, crop):
          where = np.s_[y - crop : y, x - crop : x]
          here = process(padded[where])
          scores = np.zeros((rows, columns, here.shape[-1])) if scores is None else scores
          scores[where] += here
          count[where] += 1
      scores = (scores / count)[: new[0], : new[1]]
    scores = imresize(scores, (h, w))
    total = total + scores / scores.sum(-1, keepdims=True)
  return total / len(scales)


def mmseg(image, logits, *, box, scales, flip, align_corners, crop=None, stride=None):
  """EncoderDecoder's whole or sliding inference, and the mean over MultiScaleFlipAug's views."""
  h, w = image.shape[:2]

  def view(pixels):
    rows, columns = pixels.shape[:2]
    if crop is None:
      scores = logits(pixels)
    else:
      scores, count = None, np.zeros((rows, columns, 1))
      for i in range(max(rows - crop[0] + stride[0] - 1, 0) // stride[0] + 1):
        for j in range(max(columns - crop[1] + stride[1] - 1, 0) // stride[1] + 1):
          bottom = min(i * stride[0] + crop[0], rows)
          right = min(j * stride[1] + crop[1], columns)
          where = np.s_[max(bottom - crop[0], 0) : bottom, max(right - crop[1], 0) : right]
          here = logits(pixels[where])
          scores = np.zeros((rows, columns, here.shape[-1])) if scores is None else scores
          scores[where] += here
          count[where] += 1
      scores = scores / count
    x = torch.tensor(np.asarray(scores, np.float64)).permute(2, 0, 1)[None]
    x = F.interpolate(x, (h, w), mode='bilinear', align_corners=align_corners)
    return softmax(x[0].permute(1, 2, 0).numpy())

  found = []
  for scale in scales:
    long, short = (int(side * scale) for side in box)
    factor = min(long / max(h, w), short / min(h, w))
    size = int(w * factor + 0.5), int(h * factor + 0.5)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    found.append(view(scaled))
    if flip:
      found.append(mirror(view(mirror(scaled))))
  return np.mean(found, 0)
