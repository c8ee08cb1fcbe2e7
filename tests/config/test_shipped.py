"""The configs that come with the package are found from anywhere."""

import pytest

from pspnet_jax.config import shipped
from pspnet_jax.errors import UserError
from tests import tiny


def test_all_configs_have_names():
  assert shipped.names() == sorted(path.stem for path in (tiny.ROOT / 'configs').glob('[!_]*.py'))
  assert all(shipped.find(name).is_file() for name in shipped.names())


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'camvid').write_text('')
  assert shipped.find('camvid').resolve() == tmp_path / 'camvid'


def test_those_in_the_package_go_before_those_beside_it(tmp_path, monkeypatch):
  for folder in ('in', 'beside'):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / 'mine.py').write_text('')
  monkeypatch.setattr(shipped, 'FOLDERS', (tmp_path / 'in', tmp_path / 'beside'))
  assert shipped.find('mine') == tmp_path / 'in' / 'mine.py'


@pytest.mark.parametrize(
  'path', ['camvit', 'configs/camvid.py', '/nowhere/camvid.py', 'camvid.yaml']
)
def test_the_nearest_name_is_said(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=rf'no config file {path}: did you mean --config=camvid\?'):
    shipped.find(path)


def test_without_a_near_one_all_names_are_said():
  with pytest.raises(UserError, match=r'or one of the package.s: ade20k_mmseg, ade20k_paper, '):
    shipped.find('zzz.py')
