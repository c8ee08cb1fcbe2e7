"""Text from files, servers and command lines as text: nothing in it acts as a command.

Class names, file names, keys of weights and a server's words are whatever somebody wrote there. A
terminal obeys escape sequences, Markdown has tables and links, a spreadsheet computes what begins
with '='. JSON needs none of this: what is written there is the text as it is.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata

# Controls, invisible marks of format (those that turn the direction of writing among them), halves
# of characters, what has no meaning, and line ends.
_UNSEEN = {'Cc', 'Cf', 'Cs', 'Cn', 'Co', 'Zl', 'Zp'}
_JOINERS = '\u200c\u200d'  # parts of words and emoji, and harmless
_MARKDOWN = re.compile(r'[\\`*~\[\]<>|&$]|(?<!\w)_|_(?!\w)')  # within a word, _ is no markup
# What becomes a link, a mention or an emoji. Many renderers look for these in the text that they
# have made, where a backslash is gone: only another character parts them.
_LINKED = re.compile(r'@|:(?=//|[\w+-]+:)|www(?=\.)', re.IGNORECASE)
_JOINER = '&#8288;'  # is not seen, and no line ends there
_FORMULA = ('=', '+', '-', '@')


def printable(text: str) -> str:
  r"""The text in one line, with everything that is not to be seen as an escape such as \x1b."""
  if text.isprintable():
    return text
  return ''.join(
    c.encode('unicode_escape').decode()
    if c not in _JOINERS and unicodedata.category(c) in _UNSEEN
    else c
    for c in text
  )


def printable_lines(text: str) -> str:
  """The same of a text that means its line ends."""
  return '\n'.join(map(printable, text.split('\n')))


def in_lines(text: str, width: int) -> str:
  """A sentence in lines of `width` characters at most; words that are longer stay whole."""
  return textwrap.fill(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


def encodable(text: str, encoding: str) -> str:
  """The text with escapes for the characters that an encoding lacks."""
  return text.encode(encoding, 'backslashreplace').decode(encoding)


def in_markdown(text: str) -> str:
  """The text for a paragraph or a cell of a table in Markdown.

  It holds no markup, and no addresses, mentions, formulas or emoji codes that are found without
  any: an entity that is not seen parts them.
  """
  return _LINKED.sub(rf'\g<0>{_JOINER}', _MARKDOWN.sub(r'\\\g<0>', printable(text)))


def in_csv(text: str) -> str:
  """The text for a cell of a CSV file: an apostrophe keeps a spreadsheet from computing it."""
  text = printable(text)
  return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
