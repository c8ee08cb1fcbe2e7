"""Annotations as COCO's and labelme's tools write them."""

import json

import numpy as np
from PIL import Image


def image(path, width=8, height=6, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path, **options)


def box(x0, y0, x1, y1):
  return [x0, y0, x1, y0, x1, y1, x0, y1]


def coco(*annotations, images=None, categories=((7, 'car'), (3, 'road'))):
  """An instances file; annotations are (image_id, category_id, segmentation) and what else."""
  images = images or [{'id': 1, 'file_name': 'a.png', 'width': 8, 'height': 6}]
  return {
    'images': images,
    'categories': [{'id': i, 'name': name} for i, name in categories],
    'annotations': [
      {'id': i, 'image_id': image_id, 'category_id': category, 'segmentation': outline, **more}
      for i, (image_id, category, outline, more) in enumerate(annotations)
    ],
  }


def labelme(*shapes, file='a.png', width=8, height=6):
  """One of labelme's files; shapes are (label, points, shape_type)."""
  return {
    'version': '5.0',
    'imagePath': file,
    'imageData': None,
    'imageHeight': height,
    'imageWidth': width,
    'shapes': [
      {'label': label, 'points': points, 'shape_type': kind, 'group_id': None, 'flags': {}}
      for label, points, kind in shapes
    ],
  }


def write(path, data):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(data if isinstance(data, str) else json.dumps(data))
  return path


def label(root, name='a'):
  with Image.open(root / 'labels' / f'{name}.png') as file:
    return np.asarray(file)
