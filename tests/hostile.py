"""Names that act on whatever shows them, unless it takes care."""

CLASSES = (
  '\x1b[2J\x1b]0;owned\x07',
  'a|b <script>x</script>',
  '=HYPERLINK("http://x")',
  'two\nlines\ttab',
  '[link](http://x) `code` :car: [red]',
  'gpj\u202eexe caf\udce9',
)
COLOURS = tuple((40 * i, 255 - 40 * i, 7) for i in range(len(CLASSES)))


def is_harmless(text: str) -> bool:
  """Whether nothing in a text of several lines acts on a terminal."""
  return all(c == '\n' or (ord(c) >= 32 and not 127 <= ord(c) < 160) for c in text) and not (
    {'\u202e', '\udce9'} & set(text)
  )
