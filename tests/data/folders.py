"""Folders of empty files, where only their names matter."""


def touch(root, *names):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'')


def below(root, paths):
  return [path.relative_to(root).as_posix() for path in paths]


def pairs_below(root, pairs):
  return [tuple(below(root, pair)) for pair in pairs]
