"""Archives hold what the servers take, in names, ids, sizes and colours, or there is none."""

import dataclasses
import io
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pspnet_jax import predictor
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.known_classes import CITYSCAPES_LABELS
from pspnet_jax.data.palettes import default_palette, voc_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.submit import submit
from tests import tiny

ADE20K, VOC2012, CITYSCAPES = (BENCHMARKS[name] for name in ('ade20k', 'voc2012', 'cityscapes'))
NAMES = {
  'ade20k': ['ADE_test_00000001', 'ADE_test_00000002', 'ADE_test_00000010'],
  'voc2012': ['2008_000006', '2008_000011', '2012_004331'],
  'cityscapes': [
    'berlin/berlin_000000_000019_leftImg8bit',
    'berlin/berlin_000001_000019_leftImg8bit',
    'bad-town/bad-town_000000_000294_leftImg8bit',
  ],
}


def small(benchmark):
  """A benchmark whose test split has the three images, of any size."""
  return dataclasses.replace(benchmark, splits={'test': 3}, image_size=None)


def write_images(folder, names, size=(30, 20), suffix='.png'):
  rng = np.random.default_rng(0)
  for i, name in enumerate(names):
    path = folder / f'{name}{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 256, (size[1] + i, size[0], 3), np.uint8)
    Image.fromarray(image).save(path)
  return folder


def blank(path, size=(2048, 1024)):
  Image.new('RGB', size).save(path)


def answer(image, num_classes):
  return (image[..., 0].astype(int) + image[..., 1]).astype(np.uint8) % np.uint8(num_classes)


@pytest.fixture
def model(monkeypatch):
  """Stands in for a network: its labels follow from the image. Returns its spec's holder."""
  network = SimpleNamespace(
    spec=None,
    fail_after=None,
    card=SimpleNamespace(exif='upright'),
    origin='step 6 of a run',
    notes=('A and B call a class by other words.',),
  )

  def stream(images):
    for i, (tag, image) in enumerate(images):
      if i == network.fail_after:
        raise KeyboardInterrupt
      yield tag, answer(image, network.spec.num_classes)

  network.stream = stream
  monkeypatch.setattr(predictor, 'load', lambda workdir, **options: network)
  return network


def read(path):
  """Files of an archive by name, as opened by Pillow."""
  if path.name.endswith('.zip'):
    with zipfile.ZipFile(path) as archive:
      assert archive.testzip() is None
      contents = {name: archive.read(name) for name in archive.namelist()}
  else:
    with tarfile.open(path) as archive:
      contents = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}
  return {name: Image.open(io.BytesIO(data)) for name, data in contents.items()}


def test_ade20k_ids_count_from_one(model, tmp_path, capsys):
  model.spec = ADE20K.spec
  images = write_images(tmp_path / 'testing', NAMES['ade20k'], suffix='.jpg')
  submit(small(ADE20K), tmp_path, images, tmp_path / 'ade.zip')
  assert 'A and B call a class by other words.' in capsys.readouterr().out
  files = read(tmp_path / 'ade.zip')
  assert list(files) == [f'{name}.png' for name in NAMES['ade20k']]
  for name, picture in files.items():
    assert picture.mode == 'L'
    label = answer(read_image(images / name.replace('.png', '.jpg')), 150)
    np.testing.assert_array_equal(np.asarray(picture), label + 1)


@pytest.mark.parametrize('competition', ['comp5', 'comp6'])
def test_voc_lies_in_the_development_kits_folders(model, tmp_path, competition):
  model.spec = VOC2012.spec
  images = write_images(tmp_path / 'JPEGImages', [*NAMES['voc2012'], '2008_000001'])
  (tmp_path / 'test.txt').write_text('\n'.join(NAMES['voc2012']) + '\n')
  submit(
    *(VOC2012, tmp_path, images, tmp_path / 'results.tar.gz'),
    list_file=tmp_path / 'test.txt',
    competition=competition,
  )
  files = read(tmp_path / 'results.tar.gz')
  folder = f'results/VOC2012/Segmentation/{competition}_test_cls'
  assert list(files) == [f'{folder}/{name}.png' for name in NAMES['voc2012']]
  for name, picture in files.items():
    assert picture.mode == 'P'
    assert picture.getpalette()[:768] == list(np.ravel(voc_palette(256)))
    label = answer(read_image(images / name.rpartition('/')[2]), 21)
    np.testing.assert_array_equal(np.asarray(picture), label)


def test_cityscapes_has_label_ids(model, tmp_path, capsys):
  model.spec = CITYSCAPES.spec
  images = write_images(tmp_path / 'leftImg8bit' / 'test', NAMES['cityscapes'])
  submit(small(CITYSCAPES), tmp_path, images, tmp_path / 'new' / 'city.zip')
  files = read(tmp_path / 'new' / 'city.zip')
  by_stem = {path.name: path for path in images.glob('*/*.png')}
  assert sorted(files) == sorted(by_stem)
  label_id = {label.train_id: label.id for label in CITYSCAPES_LABELS if label.train_id < 255}
  for name, picture in files.items():
    train_ids = answer(read_image(by_stem[name]), 19)
    assert picture.size == train_ids.shape[::-1]
    np.testing.assert_array_equal(np.asarray(picture), np.vectorize(label_id.get)(train_ids))
  assert 'part' not in capsys.readouterr().out
  assert [p.name for p in (tmp_path / 'new').iterdir()] == ['city.zip']


def test_a_real_network_and_its_archive_agree(monkeypatch, tmp_path):
  from tests.conftest import TINY

  options = {'num_classes': 21, **TINY}
  card = Card(network=options, spec=VOC2012.spec, crop_size=(33, 33))
  network = predictor.Predictor(card, *Network(**options).init(0))
  monkeypatch.setattr(predictor, 'load', lambda workdir, **options: network)
  images = write_images(tmp_path / 'in', NAMES['voc2012'])
  submit(small(VOC2012), tmp_path, images, tmp_path / 'voc.tgz')
  files = read(tmp_path / 'voc.tgz')
  assert len(files) == 3
  for name, picture in files.items():
    expected = network(read_image(images / name.rpartition('/')[2]))
    np.testing.assert_array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize('held', ['upright', 'stored'])
def test_an_image_is_labelled_as_in_training_and_its_label_turned_back(model, tmp_path, held):
  """The server compares pixels as they are stored, and knows of no EXIF data."""
  model.spec, model.card.exif = VOC2012.spec, held
  exif = Image.Exif()
  exif[0x0112] = 6
  pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
  path = tmp_path / '2008_000006.png'
  Image.fromarray(pixels).save(path, exif=exif)
  shapes, stream = [], model.stream

  def watched(pairs):
    for tag, image in pairs:
      shapes.append(image.shape)
      yield tag, image

  model.stream = lambda pairs: stream(watched(pairs))
  submit(VOC2012, tmp_path, tmp_path, tmp_path / 'voc.tgz', allow_partial=True)
  [picture] = read(tmp_path / 'voc.tgz').values()
  assert shapes == [(30, 20, 3) if held == 'upright' else (20, 30, 3)]
  np.testing.assert_array_equal(np.asarray(picture), answer(pixels, 21))


def test_interrupted_there_is_no_archive(model, tmp_path):
  model.spec, model.fail_after = ADE20K.spec, 2
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  (tmp_path / 'out').mkdir()
  for name in ('ade.zip', 'ade.tar.gz'):
    with pytest.raises(KeyboardInterrupt):
      submit(small(ADE20K), tmp_path, images, tmp_path / 'out' / name)
  assert not list((tmp_path / 'out').iterdir())


def test_equal_predictions_make_equal_archives(model, tmp_path):
  model.spec = ADE20K.spec
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  for name in ('a.zip', 'b.zip'):
    submit(small(ADE20K), tmp_path, images, tmp_path / name)
  assert (tmp_path / 'a.zip').read_bytes() == (tmp_path / 'b.zip').read_bytes()
  with zipfile.ZipFile(tmp_path / 'a.zip') as archive:  # readable by whoever unpacks it
    assert {info.external_attr >> 16 for info in archive.infolist()} == {0o644}


def test_an_earlier_archive_outlives_an_interrupted_one(model, tmp_path):
  model.spec = ADE20K.spec
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  submit(small(ADE20K), tmp_path, images, tmp_path / 'ade.zip')
  before = (tmp_path / 'ade.zip').read_bytes()
  model.fail_after = 1
  with pytest.raises(KeyboardInterrupt):
    submit(small(ADE20K), tmp_path, images, tmp_path / 'ade.zip')
  assert (tmp_path / 'ade.zip').read_bytes() == before


def test_a_wrong_number_of_images_is_refused_before_anything_else(model, tmp_path, capsys):
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  with pytest.raises(UserError, match=r'in holds 3 images, and ADE20K .* 3,352 \(test\) or 2,000'):
    submit(ADE20K, tmp_path, images, tmp_path / 'ade.zip')
  model.spec = ADE20K.spec
  submit(ADE20K, tmp_path, images, tmp_path / 'ade.zip', allow_partial=True)
  assert len(read(tmp_path / 'ade.zip')) == 3
  assert 'a part of the images' in capsys.readouterr().out


def test_images_missing_from_the_list_are_named(model, tmp_path):
  model.spec = VOC2012.spec
  images = write_images(tmp_path / 'in', NAMES['voc2012'][1:])
  listed = tmp_path / 'test.txt'
  listed.write_text('\n'.join(NAMES['voc2012']))
  with pytest.raises(UserError, match='1 of the 3 images of the list, 2008_000006 to begin'):
    submit(VOC2012, tmp_path, images, tmp_path / 'voc.tgz', list_file=listed)
  assert not list(tmp_path.glob('voc*'))
  submit(*(VOC2012, tmp_path, images, tmp_path / 'voc.tgz'), list_file=listed, allow_partial=True)
  assert len(read(tmp_path / 'voc.tgz')) == 2


def test_another_number_of_classes_is_refused(model, tmp_path):
  model.spec = DatasetSpec(tuple('abc'), default_palette(3))
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  with pytest.raises(UserError, match=r'has 3 classes, and ADE20K \(SceneParse150\) 150'):
    submit(small(ADE20K), tmp_path, images, tmp_path / 'ade.zip')
  assert not list(tmp_path.glob('ade*'))


def test_classes_of_other_names_are_mentioned(model, tmp_path, capsys):
  names = ('Wall', *ADE20K.spec.class_names[1:])
  model.spec = DatasetSpec(names, ADE20K.spec.palette)
  submit(
    small(ADE20K), tmp_path, write_images(tmp_path / 'in', NAMES['ade20k']), tmp_path / 'a.zip'
  )
  assert "'Wall' for 'wall'" in capsys.readouterr().out


def test_command_refuses_in_one_sentence(tmp_path):
  images = write_images(tmp_path / 'in', NAMES['ade20k'])
  result = tiny.run(
    *('submit', f'--workdir={tmp_path}', f'--input={images}', '--benchmark=ade20k'),
    f'--output={tmp_path / "ade.zip"}',
  )
  assert result.returncode == 1
  assert result.stderr.startswith('Error: ') and 'holds 3 images' in result.stderr
