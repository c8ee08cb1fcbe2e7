"""Every kind of file that decoders disagree about, through training, evaluation and the doctor.

Each is either used, and then pixel by pixel as it is meant, or refused by name.
"""

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.doctor import doctor
from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.runtime import parallel
from pspnet_jax.train import train
from tests import tiny

pytestmark = pytest.mark.usefixtures('one_device')

SIZE = 33, 49  # height, width: also the crop's
CLASSES = ('sky', 'road', 'car')


def pixels(name):
  """A smooth image, which survives JPEG, and a label of the classes' ids; of the name alone."""
  rng = np.random.default_rng(list(name.encode()))
  small = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
  image = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC))
  return image, rng.integers(0, len(CLASSES), SIZE).astype(np.uint8)


def save_jpeg(path, image, **options):
  Image.fromarray(image).save(path, quality=95, **options)


# Each makes something of the files of a sound example: returns the image and label now meant.


def exif_orientation(image_path, label_path, image, label, orientation=3):
  exif = Image.Exif()
  exif[0x0112] = orientation
  save_jpeg(image_path, image, exif=exif)
  upright = np.rot90(label, 2)  # the label belongs to the image as viewers show it
  Image.fromarray(upright).save(label_path)
  return np.rot90(image, 2), upright


def grey_image(image_path, label_path, image, label):
  grey = Image.fromarray(image).convert('L')
  grey.save(image_path)
  return np.asarray(grey.convert('RGB')), label


def cmyk_image(image_path, label_path, image, label):
  Image.fromarray(image).convert('CMYK').save(image_path, quality=95)
  return image, label


def rgba_image(image_path, label_path, image, label):
  transparent = Image.fromarray(image)
  transparent.putalpha(128)
  image_path.unlink()
  transparent.save(image_path.with_suffix('.png'))
  return image, label


def palette_label(image_path, label_path, image, label):
  colours = Image.fromarray(label)
  colours.putpalette([9, 200, 30, 77, 5, 140, 220, 60, 1])
  colours.save(label_path)
  return image, label


def deep_label(image_path, label_path, image, label):
  Image.fromarray(label.astype(np.uint16)).save(label_path)
  return image, label


def one_bit_label(image_path, label_path, image, label):
  Image.fromarray(label > 0).save(label_path)
  return image, (label > 0).astype(np.uint8)


def ignored_label(image_path, label_path, image, label):
  label = np.where(label == 2, 255, label).astype(np.uint8)
  Image.fromarray(label).save(label_path)
  return image, label


USED = [
  exif_orientation,
  grey_image,
  cmyk_image,
  rgba_image,
  palette_label,
  deep_label,
  one_bit_label,
  ignored_label,
]


# Each spoils a file of a sound example.


def truncated_jpeg(image_path, label_path, image, label):
  image_path.write_bytes(image_path.read_bytes()[:-200])


def truncated_label(image_path, label_path, image, label):
  label_path.write_bytes(label_path.read_bytes()[:-30])


def empty_image(image_path, label_path, image, label):
  image_path.write_bytes(b'')


def empty_label(image_path, label_path, image, label):
  label_path.write_bytes(b'')


def not_an_image(image_path, label_path, image, label):
  image_path.write_text('<html>404 Not Found</html>')


def deep_image(image_path, label_path, image, label):
  image_path.unlink()
  Image.fromarray(image[..., 0].astype(np.uint16) * 99).save(image_path.with_suffix('.png'))


def rgb_label(image_path, label_path, image, label):
  Image.fromarray(np.stack([label * 80] * 2 + [label], -1)).save(label_path)


def lossy_label(image_path, label_path, image, label):
  Image.fromarray(label).save(label_path, format='JPEG')


def deep_illegal_label(image_path, label_path, image, label):
  Image.fromarray(label.astype(np.uint16) + 256).save(label_path)  # whose low bytes are legal


def out_of_range_id(image_path, label_path, image, label):
  label[4, 5:9] = 3
  Image.fromarray(label).save(label_path)


def other_size(image_path, label_path, image, label):
  Image.fromarray(label[:-1]).save(label_path)


def turned_label(image_path, label_path, image, label):
  exif_orientation(image_path, label_path, image, label, orientation=6)
  Image.fromarray(label).save(label_path)  # drawn on the pixels as they are stored


REFUSED = [  # what does it, the kind of finding, what the message says beside the file
  (truncated_jpeg, 'damaged file', r'truncated or damaged'),
  (truncated_label, 'damaged file', r'truncated or damaged'),
  (empty_image, 'empty file', r'is empty'),
  (empty_label, 'empty file', r'is empty'),
  (not_an_image, 'not an image', r'not an image'),
  (deep_image, 'deep image', r'8 bits'),
  (rgb_label, 'colour label', r'colour image'),
  (lossy_label, 'lossy label', r'compression changes ids'),
  (deep_illegal_label, 'illegal ids', r'(256|257|258)'),
  (out_of_range_id, 'illegal ids', r'4 of 1617 pixels with id 3'),
  (other_size, 'sizes differ', r'49x33 .* 49x32'),
  (turned_label, 'sizes differ', r'EXIF orientation \(6\)'),
]


def write_example(root, split, name, change=None):
  """Adds an example to both kinds of folders; what `change` returns, else the sound pixels."""
  paths = []
  for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
    folder = root / kind / split
    folder.mkdir(parents=True, exist_ok=True)
    paths.append(folder / f'{name}.{suffix}')
  image, label = pixels(name)
  save_jpeg(paths[0], image)
  Image.fromarray(label).save(paths[1])
  return (change(*paths, image, label) if change else None) or (image, label)


def config(root, folder, batch_size=2):
  (root / 'classes.txt').write_text('\n'.join(CLASSES))
  c = tiny.config(folder, total_steps=1, batch_size=batch_size, crop_size=SIZE)
  c.augment.scale = (1.0, 1.0)
  for name in ('rotate_probability', 'blur_probability', 'flip_probability'):
    c.augment[name] = 0.0
  c.data = {'name': 'folder', 'root': str(root), 'train': {'split': 'train'}}
  c.data.val = {'split': 'val'}
  return c


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('used')


@pytest.fixture
def trained(folder, monkeypatch):
  """A run of one step on every file that can be used.

  Returns:
    its config and workdir; what the files mean, by split and name; what the step was given.
  """
  meant = {
    (split, change.__name__): write_example(folder, split, f'{split}_{change.__name__}', change)
    for change in USED
    for split in ('train', 'val')
  }
  c, kept = config(folder, folder, batch_size=len(USED)), folder / 'batch.npz'
  if not kept.exists():  # the first of the module's tests trains for all
    batches, prefetch = [], parallel.prefetch

    def record(stream, mesh):
      return prefetch((batches.append(batch) or batch for batch in stream), mesh)

    monkeypatch.setattr(parallel, 'prefetch', record)
    jax.config.update('jax_disable_most_optimizations', True)  # what runs once is not worth them
    try:
      train(c, folder / 'run')
    finally:
      jax.config.update('jax_disable_most_optimizations', False)
    np.savez(kept, **batches[0])
  return c, folder / 'run', meant, np.load(kept)


def test_what_is_used_is_used_as_it_is_meant(trained, tmp_path):
  c, workdir, meant, batch = trained  # an epoch
  for change in USED:
    image, label = meant['train', change.__name__]
    [row] = [i for i, found in enumerate(batch['label']) if np.array_equal(found, label)]
    error = np.abs(batch['image'][row].astype(int) - image).mean()
    assert error < 6, (change.__name__, error)

  labels = [label for (split, _), (_, label) in meant.items() if split == 'val']
  counts = np.bincount(np.ravel(labels), minlength=256)
  scores = evaluate(c, workdir)
  np.testing.assert_array_equal(scores.label_pixels, counts[:3])

  found = doctor(c, tmp_path / 'report')  # labels of noise show no frame on which they fit
  assert [(f.level, f.kind, f.split) for f in found] == [
    ('warning', 'turned image', split) for split in ('train', 'val')
  ]
  report = json.loads((tmp_path / 'report' / 'report.json').read_text())
  assert report['splits']['val']['class_pixels'] == counts[:3].tolist()
  assert report['splits']['val']['ignored_share'] == pytest.approx(counts[255] / counts.sum())


@pytest.mark.parametrize(
  ('spoil', 'kind', 'message'), REFUSED, ids=lambda x: getattr(x, '__name__', '')
)
def test_what_cannot_be_used_is_named(tmp_path, trained, spoil, kind, message):
  _, workdir, _, _ = trained
  for split in ('train', 'val'):
    write_example(tmp_path / 'data', split, f'{split}_sound')
    write_example(tmp_path / 'data', split, 'spoilt', spoil)
  c = config(tmp_path / 'data', tmp_path)

  with pytest.raises(UserError, match=message) as in_training:
    train(c, tmp_path / 'run')
  with pytest.raises(UserError, match=message) as in_evaluation:
    evaluate(c, workdir)
  # Training reads a label of the validation split before its first step.
  for error, split in ((in_training, '(train|val)'), (in_evaluation, 'val')):
    text = str(error.value)
    assert re.search(f'{split}/spoilt\\.', text) and '\n' not in text and text.endswith('.')

  findings = [f for f in doctor(c) if f.kind == kind]
  assert {f.level for f in findings} == {'error'}
  for split in ('train', 'val'):
    assert any(f'{split}/spoilt.' in f.where + f.message for f in findings), findings
