"""The one exception for what a user can mend."""


class UserError(ValueError):
  """Bad input. The message is one sentence that names the file or value and the remedy.

  Commands print it without a traceback and exit with status 1; anything else that is raised is a
  defect of ours and keeps its traceback.
  """


class Stopped(UserError):
  """Asked to stop (SIGTERM, Ctrl-C): everything is saved. Commands exit with status 143."""
