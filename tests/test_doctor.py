"""The data doctor finds what was planted, and nothing in sound data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.config import files
from pspnet_jax.config.defaults import defaults
from pspnet_jax.data.decode import read_image
from pspnet_jax.doctor import doctor
from pspnet_jax.errors import UserError
from tests import hostile, planted, tiny

CAMVID = Path(__file__).parents[2] / 'shared' / 'camvid'


def config(root, **changes):
  c = defaults()
  c.crop_size = (33, 33)
  c.data.root = str(root)
  c.update_from_flattened_dict({name.replace('__', '.'): value for name, value in changes.items()})
  return c


@pytest.fixture
def root(tmp_path):
  planted.write_folder(tmp_path / 'data')
  return tmp_path / 'data'


def test_sound_data_have_no_findings(root):
  assert doctor(config(root)) == []


def test_what_is_left_out_is_said(root, capsys):
  (root / 'images' / 'train' / 'film.mp4').write_bytes(b'')
  assert doctor(config(root)) == []
  assert f'{root}/images/train: left aside as no images: 1 .mp4.' in capsys.readouterr().out


def found(findings, kind, where):
  return [f for f in findings if f.kind == kind and where in f.where + f.message]


@pytest.mark.parametrize(
  ('plant', 'kind'), planted.PLANTED.items(), ids=lambda x: getattr(x, '__name__', '')
)
def test_one_fault(root, plant, kind):
  where = plant(planted.Victims(root))
  findings = doctor(config(root))
  assert found(findings, kind, where)
  others = {f.kind for f in findings} - {kind}
  explained = {'illegal ids'} if kind in ('ids count from 1', 'ids above 255') else set()
  assert others <= explained
  for finding in findings:
    assert finding.message.endswith('.') and '. ' not in finding.message


def test_all_faults_at_once(root):
  shutil.rmtree(root)
  planted.write_folder(root, train=40, val=8)
  victims = planted.Victims(root)
  where = {plant: plant(victims) for plant in planted.PLANTED}
  findings = doctor(config(root), root / 'report')
  for plant, kind in planted.PLANTED.items():
    assert found(findings, kind, where[plant]), plant.__name__
  levels = [f.level for f in findings]
  assert levels == sorted(levels)  # errors first
  report = json.loads((root / 'report' / 'report.json').read_text())
  assert len(report['findings']) == len(findings) and not report['sound']
  assert read_image(root / 'report' / 'examples.png').shape[1] > 1000


def test_classes_that_do_not_occur(root):
  def replace(split, old, new):
    for path in (root / 'labels' / split).iterdir():
      ids = np.asarray(Image.open(path)).copy()
      ids[ids == old] = new
      Image.fromarray(ids).save(path)

  replace('train', 2, 1)
  [finding] = doctor(config(root))
  assert (finding.level, finding.kind, finding.where) == ('error', 'class only in val', 'car')
  replace('val', 2, 1)
  [finding] = doctor(config(root))
  assert (finding.level, finding.kind) == ('warning', 'class never seen')


@pytest.mark.parametrize(
  ('change', 'options', 'remedy'),
  [
    (lambda ids: ids + 1, {}, 'write `label_offset: 1` into'),
    (lambda ids: np.where(ids == 4, 0, ids + 1), {}, 'write `label_offset: 1` and `ignore: 0`'),
    (
      lambda ids: np.where(ids > 1, 255, 0),
      {'class_names': ('a', 'b')},
      'write `label_ids: 0 255`',
    ),
    (
      lambda ids: np.where(ids == 4, 0, ids + 1),
      {'class_names': tuple('abcd'), 'label_offset': 1},
      'if 0 is no class, write `ignore: 0`',
    ),
    (lambda ids: ids.astype(np.uint16) * 1000, {}, 'divide them by 1000'),
  ],
  ids=['from one', 'from one, 0 void', 'binary', 'background', 'instances'],
)
def test_what_all_labels_have_in_common_is_named_once(root, change, options, remedy):
  without_void = remedy.startswith(('write `label_offset: 1` into', 'divide'))
  if 'class_names' not in options:
    (root / 'classes.txt').write_text('sky\nroad\ncar\ntree\n')
  for path in (root / 'labels').rglob('*.png'):
    ids = np.asarray(Image.open(path))
    ids = np.where(ids == 4, 3, ids) if without_void else ids
    ids = change(ids)
    Image.fromarray(ids.astype(np.uint16 if ids.max() > 255 else np.uint8)).save(path)
  c = config(root)
  c.data.update(options)
  findings = doctor(c)
  [finding] = [f for f in findings if remedy in f.message and not f.where]
  assert finding.level == 'error'


def test_a_split_that_cannot_be_opened_does_not_hide_the_other(root):
  planted.illegal_id(planted.Victims(root))
  (root / 'images' / 'val').rename(root / 'images' / 'test')
  kinds = {f.kind for f in doctor(config(root))}
  assert kinds == {'no such split', 'illegal ids'}
  shutil.rmtree(root)
  with pytest.raises(UserError, match='does not exist'):
    doctor(config(root))


def test_labels_of_other_names_are_all_listed(root):
  for path in list((root / 'labels').rglob('*.png')):
    path.rename(path.with_name(f'{path.stem}_mask.png'))
  findings = doctor(config(root), root / 'report')
  kinds = [f.kind for f in findings]
  assert kinds.count('image without label') == kinds.count('label without image') == 18
  assert len(kinds) == 36


def test_list_files(root):
  pair = 'images/train/train{0}.jpg labels/train/train{0}.png\n'.format
  lines = pair('00') + pair('01') + pair('00') + pair('99')
  (root / 'train.txt').write_text(
    f'{lines}{root}/{pair("02")}'.replace(' labels', f' {root}/labels')
  )
  c = config(root)
  c.data.train.list_file = 'train.txt'
  kinds = sorted(f.kind for f in doctor(c))
  assert kinds == ['listed twice', 'missing file', 'missing file']


def test_bad_files_are_warnings_where_training_skips_them(root):
  planted.empty_file(planted.Victims(root))
  assert [f.level for f in doctor(config(root, data_errors='skip'))] == ['warning']


def test_images_below_the_crop(root):
  [finding] = doctor(config(root, crop_size=(41, 41)))
  assert finding.level == 'warning' and '12 of 12 images are smaller' in finding.message


def test_any_source(tmp_path):
  c = tiny.config(tmp_path)
  assert doctor(c, tmp_path / 'report') == []
  report = json.loads((tmp_path / 'report' / 'report.json').read_text())
  assert report['sound'] and report['splits']['train']['examples'] == 24


def test_the_command_says_it_and_ends_with_status_1(root, tmp_path):
  path = tmp_path / 'c.py'
  path.write_text(
    'import ml_collections\ndef get_config():\n  c = ml_collections.ConfigDict()\n'
    f'  c.crop_size = (33, 33)\n  c.data = {{"name": "folder", "root": {str(root)!r}}}\n'
    '  return c\n'
  )
  result = tiny.run('doctor', f'--config={path}')
  assert result.returncode == 0, result.stderr
  assert '0 error(s), 0 warning(s); ready to train.' in result.stdout
  where = planted.off_by_one(planted.Victims(root))
  result = tiny.run('doctor', f'--config={path}', f'--output={tmp_path / "report"}')
  assert result.returncode == 1 and not result.stderr
  assert where in result.stdout and 'subtract 1' in result.stdout
  assert (tmp_path / 'report' / 'examples.png').is_file()


@pytest.fixture
def camvid(tmp_path):
  """Every eighth frame of CamVid, and the config that trains on it."""
  if not CAMVID.is_dir():
    pytest.skip('CamVid is not at ../shared/camvid')
  for kind in ('images', 'labels'):
    for split in ('train', 'val'):
      target = tmp_path / 'camvid' / kind / split
      target.mkdir(parents=True)
      for path in sorted((CAMVID / kind / split).iterdir())[::8]:
        shutil.copy(path, target)
  c = files.load(str(tiny.ROOT / 'configs' / 'camvid.py'))
  c.data.root = str(tmp_path / 'camvid')
  return tmp_path / 'camvid', c


def test_real_scenes(camvid):
  root, c = camvid
  assert doctor(c) == []
  victims = planted.Victims(root)
  where = {plant: plant(victims) for plant in planted.PLANTED}
  findings = doctor(c)
  for plant, kind in planted.PLANTED.items():
    assert found(findings, kind, where[plant]), plant.__name__


def write_own_files(folder):
  """What `own.Files` reads; a label of the training split has an id without a class."""
  for split, ids in (('train', (3, 7, 0)), ('train', (3, 7, 5)), ('val', (7, 3, 255))):
    at = folder / split / f'{len(list(folder.rglob("*.jpg")))}.jpg'
    at.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(ids)) + ids[0] + ids[2])
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(at)
    label = rng.choice(np.uint8(ids), (40, 60), p=(0.5, 0.4, 0.1))
    Image.fromarray(label).save(at.with_name(f'{at.stem}_ids.png'))


def own_config(name, **options):
  c = defaults()
  c.crop_size = (33, 33)
  c.data = {'name': name, **options, 'train': {'split': 'train'}, 'val': {'split': 'val'}}
  return c


def test_a_source_of_ones_own_that_reads_files_is_examined_file_by_file(tmp_path):
  write_own_files(tmp_path)
  findings = doctor(own_config('tests.own:Files', root=str(tmp_path)), tmp_path / 'out')
  [finding] = [f for f in findings if f.level == 'error']
  assert (finding.kind, finding.split) == ('illegal ids', 'train')
  assert finding.where.endswith('1_ids.png') and ' 5' in finding.message
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert set(report['splits']['train']['ids']) == {'0', '3', '5', '7'}


@pytest.mark.parametrize('wrong', [None, 'a tuple', 'float image', 'sizes', 'no such class'])
def test_a_plain_source_of_ones_own_is_examined_example_by_example(tmp_path, wrong):
  c = own_config('tests.own:Scenes', length=4, wrong=wrong)
  findings = doctor(c, tmp_path / 'out')
  errors = [(f.split, f.where) for f in findings if f.level == 'error']
  assert errors == ([] if wrong is None else [('train', 'example 1'), ('val', 'example 1')])
  assert (tmp_path / 'out' / 'examples.png').is_file()


def test_files_that_a_source_of_ones_own_cannot_open_do_not_end_the_survey(tmp_path):
  findings = doctor(own_config('tests.own:Keyed'))
  assert {(f.kind, f.split) for f in findings if 'FileNotFoundError: a.png' in f.message} == {
    ('unreadable file', 'train'),
    ('unreadable file', 'val'),
  }


def test_names_that_act_are_text_in_the_report(root, tmp_path, capsys):
  classes = root / 'classes.txt'
  count = len(classes.read_text().splitlines())
  names = [*hostile.CLASSES, *map(str, range(count))][:count]
  victim = next((root / 'images' / 'train').iterdir())
  victim.rename(victim.with_name('\x1b[2J|caf\udce9\n.jpg'))  # without its label
  for path in (root / 'labels' / 'val').iterdir():
    path.write_bytes(b'')
  doctor(config(root, data__class_names=tuple(names)), tmp_path / 'report')
  out = capsys.readouterr().out
  assert hostile.is_harmless(out) and r'\x1b[2J|caf\udce9\n.jpg' in out
  assert out.splitlines()[-1].endswith('mend the errors first.')
  report = json.loads((tmp_path / 'report' / 'report.json').read_text())
  assert report['classes'] == names
