"""A benchmark's own process: what has to start from nothing is measured in one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def result_of(module: str, *arguments: str, env: Mapping[str, str]) -> dict[str, Any]:
  """Runs `python -m module` and returns the JSON object of its last line.

  Raises:
    RuntimeError: with the end of its messages, if it fails.
  """
  result = subprocess.run(
    [sys.executable, '-m', module, *arguments],
    env=env,
    cwd=Path(__file__).parent.parent,
    capture_output=True,
    text=True,
    check=False,
  )
  if result.returncode:
    raise RuntimeError(f'{module} failed: {result.stderr[-800:]}')
  return json.loads(result.stdout.splitlines()[-1])
