"""JSON from files that may be damaged or hostile: limits are checked before anything is built."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["MAX_JSON_DEPTH", "read_json"]

MAX_JSON_DEPTH = 64
"""How many lists and objects may be nested in each other."""

# A string is one token, so that brackets inside it are not counted. Possessive (`*+`): no backtracking.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def read_json(text: bytes) -> Any:
    """Parse JSON, refusing what the standard parser lets through.

    Refused are: more than `MAX_JSON_DEPTH` levels, a key that appears twice in one object, NaN and infinity,
    numbers of thousands of digits, and bytes that are not UTF-8.

    Args:
        text: the whole document.

    Returns:
        dict, list, str, int, float, bool or None.

    Raises:
        ValueError: what is wrong, in a few words.

    Example:
        >>> read_json(b'{"layers": [64, 64]}')
        {'layers': [64, 64]}
        >>> read_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: the key 'a' appears twice
    """
    depth = 0
    for token in _TOKENS.finditer(text):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise ValueError(f"nested deeper than {MAX_JSON_DEPTH} levels")
        elif first in b"]}":
            depth -= 1
    try:
        return json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise ValueError(f"the key {twice[:60]!r} appears twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
