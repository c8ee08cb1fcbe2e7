"""Flags whose values are paths."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from pspnet_jax.runtime import paths


class _PathParser(flags.ArgumentParser[Path]):
  """Reads the value of a flag that is a path."""

  def parse(self, argument: str | Path) -> Path:
    return paths.given(argument)


class _PathsParser(flags.ArgumentParser[list[Path]]):
  """Reads paths with commas between them."""

  def parse(self, argument: str | list[Path]) -> list[Path]:
    texts = argument.split(',') if isinstance(argument, str) else argument
    return [paths.given(text) for text in texts]


def define_path(name: str, default: str | None, text: str, required: bool = False) -> None:
  """Defines a flag whose value is a path: not empty, and without `~`."""
  flags.DEFINE(_PathParser(), name, default, text, required=required)


def define_paths(name: str, text: str) -> None:
  """Defines a flag of one path or several; it is required."""
  flags.DEFINE(_PathsParser(), name, None, text, required=True)
