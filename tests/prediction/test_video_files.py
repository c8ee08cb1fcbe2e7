"""A video gets its name when it is whole, and is known again as ours."""

import numpy as np
import pytest

from pspnet_jax.data.video import open_video
from pspnet_jax.errors import UserError
from pspnet_jax.prediction.video_files import mark_of, video_file


def frame(grey, size=(32, 48)):
  return np.full((*size, 3), grey, np.uint8)


@pytest.mark.parametrize('size', [(32, 48), (33, 47)])
def test_frames_come_back(tmp_path, size):
  path = tmp_path / 'deep' / 'a.mp4'
  with video_file(path, 7.5, 'of these weights') as add:
    for grey in (50, 100, 150):
      add(frame(grey, size))
    assert not path.exists()
  with open_video(path) as (about, frames):
    means = [f.mean() for f in frames]
  assert about.frames_per_second == 7.5 and np.allclose(means, (50, 100, 150), atol=4)
  assert mark_of(path) == 'of these weights'
  assert [p.name for p in path.parent.iterdir()] == ['a.mp4']


def test_a_video_that_fails_leaves_what_was_there(tmp_path):
  path = tmp_path / 'a.mp4'
  path.write_bytes(b'old')
  with pytest.raises(KeyError), video_file(path, 10) as add:
    add(frame(1))
    raise KeyError
  assert path.read_bytes() == b'old' and [*tmp_path.iterdir()] == [path]


def test_what_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').touch()
  path = tmp_path / 'file' / 'a.mp4'
  with pytest.raises(UserError, match='cannot write to'), video_file(path, 9):
    pass


def test_files_of_others_have_no_mark(tmp_path):
  (tmp_path / 'a.mp4').write_bytes(b'x' * 1000)
  assert mark_of(tmp_path / 'a.mp4') is None and mark_of(tmp_path / 'b.mp4') is None
