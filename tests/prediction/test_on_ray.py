"""Workers of Ray that are killed: what they had is done by others, and what kills them is named."""

import pytest

from pspnet_jax import predictor
from pspnet_jax.batch_predict import batch_predict
from pspnet_jax.errors import UserError
from pspnet_jax.prediction import manifest
from tests.prediction import bright

pytest.importorskip('ray')


@pytest.mark.slow
def test_an_image_that_ends_its_workers_takes_no_other_with_it(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(predictor, 'load', bright.load)
  (tmp_path / 'w').mkdir()
  firsts = {4: bright.ONCE, 11: bright.ALWAYS, 17: bright.FAULT}
  for i in range(24):
    bright.write_image(tmp_path / 'in' / f'{i:02d}.png', firsts.get(i, 0))
  (tmp_path / 'in' / '20.png').write_bytes(b'no image')
  with pytest.raises(UserError, match='3 of 24 images could not be labelled'):
    batch_predict(tmp_path / 'w', tmp_path / 'in', tmp_path / 'out', engine='ray', workers=2)
  said = capsys.readouterr()
  assert '21 image(s) labelled in' in said.out and 'given to a worker again' in said.out
  assert not said.err
  rows = manifest.read(tmp_path / 'out' / 'manifest.parquet').to_pylist()
  assert [row['path'] for row in rows] == [f'{i:02d}.png' for i in range(24)]
  errors = {row['path']: row for row in rows if row['error']}
  assert [*errors] == ['11.png', '17.png', '20.png']
  assert 'each of 3 workers ended that was given the image' in errors['11.png']['error']
  assert 'RuntimeError: cuDNN lost its way' in errors['17.png']['error']
  assert [row['attempts'] for row in errors.values()] == [3, 2, 1] and rows[4]['attempts'] == 2
  assert not [*(tmp_path / 'out').rglob('.*.part'), *(tmp_path / 'out').glob('.begun*')]
  for i in (11, 17, 20):  # mended
    bright.write_image(tmp_path / 'in' / f'{i:02d}.png')
  batch_predict(tmp_path / 'w', tmp_path / 'in', tmp_path / 'out')  # without Ray
  assert '21 of 24 image(s) are done already.' in capsys.readouterr().out
