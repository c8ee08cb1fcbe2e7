"""Flags whose values are paths."""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags

from pspnet_jax.runtime import paths, storage


class _PathParser(flags.ArgumentParser[Path]):
  """Reads the value of a flag that is a path."""

  def parse(self, argument: str | Path) -> Path:
    return paths.given(argument)


class _WorkdirParser(flags.ArgumentParser[Path]):
  """Reads the value of a flag that is a folder or gs://BUCKET/FOLDER."""

  def parse(self, argument: str | Path) -> Path:
    return storage.given(argument)


class _FolderParser(flags.ArgumentParser[Path | str]):
  """Reads the value of a flag that is a folder, gs://BUCKET/FOLDER or hf://OWNER/NAME."""

  def parse(self, argument: Path | str) -> Path | str:
    return storage.location(argument)


class _PathsParser(flags.ArgumentParser[list[Path]]):
  """Reads paths with commas between them."""

  def parse(self, argument: str | list[Path]) -> list[Path]:
    texts = argument.split(',') if isinstance(argument, str) else argument
    return [paths.given(text) for text in texts]


class _FoldersParser(flags.ArgumentParser[list[Path | str]]):
  """Reads folders, gs://BUCKET/FOLDER or hf://OWNER/NAME with commas between them.

  A folder that is there may have commas in its name.
  """

  def parse(self, argument: str | list[Path | str]) -> list[Path | str]:
    texts = argument.split(',') if isinstance(argument, str) else argument
    if isinstance(argument, str) and os.path.isdir(os.path.expanduser(argument)):
      texts = [argument]
    return [storage.location(x) for x in texts]


def define_path(
  name: str, default: str | None, text: str, required: bool = False, *, in_bucket: bool = False
) -> None:
  """Defines a flag whose value is a path, not empty and without `~`; it may be in a bucket."""
  parser = _WorkdirParser() if in_bucket else _PathParser()
  flags.DEFINE(parser, name, default, text, required=required)


def define_folder(name: str, text: str) -> None:
  """Defines a flag of one folder or hf://OWNER/NAME; it is required."""
  flags.DEFINE(_FolderParser(), name, None, text, required=True)


def define_folders(name: str, text: str) -> None:
  """Defines a flag of one folder or several, all of which are there; it is required."""
  flags.DEFINE(_FoldersParser(), name, None, text, required=True)


def define_paths(name: str, text: str) -> None:
  """Defines a flag of one path or several; it is required."""
  flags.DEFINE(_PathsParser(), name, None, text, required=True)


def first_path(name: str, text: str) -> Path | None:
  """The path, or the first of several, that the flag `name` has when it is given as `text`.

  None for an address of the Hub, which is no folder.
  """
  parsed: Path | str | list[Path | str] | None = flags.FLAGS[name].parser.parse(text)
  first = parsed[0] if isinstance(parsed, list) else parsed or Path()
  return None if isinstance(first, str) else first
