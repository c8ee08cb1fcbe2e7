"""Files beside what is said of their content."""

import hashlib

from pspnet_jax.weights.checksums import is_sound


def test_a_file_has_the_digits_that_its_checksum_begins_with(tmp_path):
  path = tmp_path / 'net.pth'
  path.write_bytes(b'content')
  known = hashlib.sha256(b'content').hexdigest()
  for digest in ('', known[:8], known, f'sha1:{hashlib.sha1(b"content").hexdigest()}'):
    assert is_sound(path, digest)
    assert not is_sound(tmp_path / 'gone.pth', digest)
  for digest in ('0' * 8, known[1:], f'sha1:{known}'):
    assert not is_sound(path, digest)
