"""Show the examples of docstrings as code.

Our docstrings say `Example:`; the Google style that the reference pages are read with knows `Examples:` only,
and would set the other as running text.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Name the section of examples as the parser of the Google style expects it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
