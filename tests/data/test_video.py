"""Videos are read frame by frame, and what is none is said in a sentence."""

import cv2
import numpy as np
import pytest

from pspnet_jax.data.video import is_video, open_video
from pspnet_jax.errors import UserError


def write(path, code, frames=4, size=(48, 64)):
  fourcc = cv2.VideoWriter.fourcc(*code)
  writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 12.5, size[::-1])
  for i in range(frames):
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 2] = 50 * (i % 4 + 1)  # red, in OpenCV's order
    writer.write(frame)
  writer.release()


@pytest.mark.parametrize(
  ('suffix', 'code'), [('.mp4', 'mp4v'), ('.avi', 'MJPG'), ('.mov', 'mp4v'), ('.mkv', 'VP90')]
)
def test_frames_are_rgb_and_in_order(tmp_path, suffix, code):
  path = tmp_path / f'a{suffix}'
  write(path, code)
  assert is_video(path)
  with open_video(path) as (about, frames):
    found = [*frames]
  assert about.frames_per_second == 12.5 and len(found) == 4
  for i, frame in enumerate(found):
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
    assert abs(int(frame[..., 0].mean()) - 50 * (i + 1)) < 8 and frame[..., 2].mean() < 12


@pytest.mark.parametrize('content', [b'', b'no video at all\n' * 50])
def test_what_is_no_video_is_said_in_a_sentence_and_nothing_else(tmp_path, capfd, content):
  path = tmp_path / 'a.mp4'
  path.write_bytes(content)
  with pytest.raises(UserError, match=r'a\.mp4 is no video .* or has no frame'), open_video(path):
    pass
  assert capfd.readouterr() == ('', '')


def test_a_video_without_frames_or_file_is_refused(tmp_path):
  write(tmp_path / 'a.avi', 'MJPG', frames=0)
  for name in ('a.avi', 'b.mp4', '.'):
    with pytest.raises(UserError, match=r'is no (video|file)'), open_video(tmp_path / name):
      pass


def test_too_large_frames_are_refused_with_the_limit(tmp_path, monkeypatch):
  path = tmp_path / 'a.avi'
  write(path, 'MJPG')
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '3000')
  with pytest.raises(UserError, match='3,072 pixels, and 3,000 is the limit'), open_video(path):
    pass


def test_a_video_that_was_cut_off_gives_the_frames_it_has(tmp_path):
  path = tmp_path / 'a.avi'
  write(path, 'MJPG', frames=20, size=(200, 200))
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with open_video(path) as (about, frames):
    assert 0 < len([*frames]) < 20 == about.frames


def test_videos_are_known_by_their_names(tmp_path):
  assert is_video(tmp_path / 'A.MP4')
  assert not any(is_video(tmp_path / name) for name in ('a.png', 'a.gif', 'mp4', 'a'))
