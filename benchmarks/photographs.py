"""Made-up data with the spectrum of photographs, which decode and augment as photographs do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Draws an image, uint8 [H, W, 3]."""
  light, blue, red = (_natural(rng, height, width) for _ in range(3))
  colour = np.stack([light + 0.2 * blue, light, light + 0.2 * red], -1)
  return np.clip(120 + 50 * colour, 0, 255).astype(np.uint8)


def label(rng: np.random.Generator, height: int, width: int, num_classes: int) -> np.ndarray:
  """Draws regions of neighbouring ids, uint8 [H, W]."""
  smooth = cv2.GaussianBlur(_natural(rng, height, width), (0, 0), 7)
  middle, spread = num_classes / 2, num_classes / 6
  return np.clip(middle + spread * np.round(smooth * 2), 0, num_classes - 1).astype(np.uint8)


def save_image(image: np.ndarray, path: Path) -> None:
  """Writes a JPEG file of a photograph's usual size."""
  cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _natural(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Noise that falls off with frequency as photographs and their optics do, with deviation 1."""
  frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
  spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
  spectrum /= np.maximum(frequency, 1 / width) ** 1.4
  field = np.fft.irfft2(spectrum, (height, width))
  return ((field - field.mean()) / field.std()).astype(np.float32)
