"""The ARFF format as the UCR and UEA archives write it.

Univariate: a numeric attribute per step and a nominal class. Multivariate: one relational attribute whose
quoted cell holds the channels with `\\n` between them. Sparse rows, dates and text attributes are refused by
name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatestack.data.collections.gather import check_declared, collect, without_missing_end
from gatestack.data.collections.labelled import LabelColumns, LabelledSequences, TargetKind
from gatestack.data.collections.lines import check_file, numbered_lines, numbers_of
from gatestack.errors import DataError, nearest_name, quote_value

__all__ = ["read_arff"]

Floats = npt.NDArray[np.float64]

_NUMERIC = ("numeric", "real", "integer")
_TARGET_NAMES = ("target", "class", "label")
# Quoted text with escapes, or a bare word: for names, classes and cells alike.
_QUOTED = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|[^\s'\"{{}}]+)\s+(\S.*)", re.IGNORECASE)
_CELL = re.compile(rf"\s*({_QUOTED}|[^,'\"]*)\s*(,|$)")


@dataclass(frozen=True)
class _Attribute:
    name: str
    line: int
    classes: tuple[str, ...] | None = None  # None: numeric


@dataclass
class _Header:
    attributes: list[_Attribute] = field(default_factory=list)
    relation: _Attribute | None = None
    steps: int = 0
    inside: bool = False


def read_arff(
    path: str | Path, *, kind: TargetKind = "classes", label: str | None = None, need_labels: bool = True
) -> LabelledSequences:
    """Read an `.arff` file.

    Args:
        path: of the file.
        kind: what the label is read as.
        label: name of its attribute; None takes the last one if it is nominal (classes), or is called target,
            class or label (numbers).
        need_labels: refuse a file without such an attribute.

    Returns:
        The sequences; missing values at the end of a case end it, as in all tables with a case per row.

    Raises:
        DataError: a line that breaks the format; names file, line and attribute.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "tiny.arff"
        >>> header = "@relation r\\n@attribute a real\\n@attribute b real\\n@attribute k {up,down}\\n@data\\n"
        >>> _ = path.write_text(header + "1,2,up\\n2,1,down\\n")
        >>> read_arff(path)
        LabelledSequences(2 sequences, 4 steps, 1 feature, float64; classes: up, down)
        >>> folder.cleanup()
    """
    file, source = Path(path).expanduser(), str(path)
    check_file(file, source, (".arff",))
    header = _Header()
    target: _Attribute | None = None
    begun = False
    values: list[Floats] = []
    labels: list[str] = []
    lines: list[int] = []
    for number, text in numbered_lines(file, source, comment=("%",)):
        where = f"{source}, line {number}"
        if begun:
            case, name = _read_case(text, header, target, where)
            _check_channels(case, values, lines, where)
            values.append(case)
            labels.append(name)
            lines.append(number)
        elif re.match(r"@data\s*$", text, re.IGNORECASE):
            target = _target(header, kind, label, source, need_labels)
            begun = True
        else:
            _read_declaration(text, header, number, where)
    if not begun:
        raise DataError("there is no @data", where=source, expected="attributes, @data, cases")
    return collect(
        values,
        None if target is None else labels,
        lines,
        kind=kind,
        classes=() if target is None or target.classes is None else target.classes,
        source=source,
        columns=LabelColumns(label=None if target is None else target.name),
    )


def _read_declaration(text: str, header: _Header, number: int, where: str) -> None:
    word = text.split()[0].lower()
    if word == "@relation":
        return
    if word == "@end":
        if not header.inside:
            raise DataError("@end without a relational attribute", where=where, expected="@attribute")
        header.inside = False
        return
    if word != "@attribute":
        raise DataError(
            f"{quote_value(text)}",
            where=where,
            expected="@relation, @attribute, @end or @data before the cases",
        )
    found = _ATTRIBUTE.fullmatch(text)
    if found is None:
        raise DataError(f"{quote_value(text)}", where=where, expected="@attribute, a name and a type")
    name, kind = _unquoted(found[1]), found[2].strip()
    where = f"{where}, attribute {quote_value(name)}"
    if kind.lower() == "relational":
        if header.relation is not None or header.inside:
            raise DataError("a second relational attribute", where=where, expected="one, a line per channel")
        header.relation, header.inside = _Attribute(name, number), True
    elif kind.lower().split()[0] in _NUMERIC:
        if header.inside:
            header.steps += 1
        else:
            header.attributes.append(_Attribute(name, number))
    elif kind.startswith("{"):
        if header.inside:
            raise DataError("classes inside a relation", where=where, expected="numeric attributes there")
        header.attributes.append(_Attribute(name, number, _classes(kind, where)))
    else:
        known = kind.lower().split()[0] in ("date", "string")
        raise DataError(
            f"the type {quote_value(kind)} is not {'supported' if known else 'known'}",
            where=where,
            expected="numeric, real, integer, relational, or classes in braces",
            hint=nearest_name(kind, [*_NUMERIC, "relational"]) if not known else "leave the attribute out",
        )


def _classes(kind: str, where: str) -> tuple[str, ...]:
    if not kind.endswith("}"):
        raise DataError("the brace is never closed", where=where, expected="{first,second,…}")
    names, inside, at = [], kind[1:-1], 0
    while True:
        cell = _CELL.match(inside, at)
        if cell is None:
            raise DataError(f"{quote_value(inside[at:])} is not a list of names", where=where)
        names.append(_unquoted(cell[1].strip()))
        at = cell.end()
        if not cell[2]:
            break
    if "" in names or len(set(names)) != len(names):
        raise DataError("a class is empty or stands twice", where=where, expected="different names")
    return tuple(names)


def _target(
    header: _Header, kind: TargetKind, label: str | None, source: str, need_labels: bool
) -> _Attribute | None:
    if header.inside and header.relation is not None:
        raise DataError("the relation is never ended", where=f"{source}, line {header.relation.line}",
                        expected=f"@end {header.relation.name}")  # fmt: skip
    if not header.attributes and header.relation is None:
        raise DataError("there are no attributes", where=source, expected="@attribute lines before @data")
    target = _named_target(header, kind, label, source, need_labels)
    for attribute in header.attributes:
        if attribute is not target and (attribute.classes is not None or header.relation is not None):
            raise DataError(
                f"the attribute {quote_value(attribute.name)} is neither a step nor the label",
                where=f"{source}, line {attribute.line}",
                expected="numeric steps, or one relation, and one label",
                hint="name the label with label=…" if label is None else "leave the attribute out",
            )
    return target


def _named_target(
    header: _Header, kind: TargetKind, label: str | None, source: str, need_labels: bool
) -> _Attribute | None:
    names = [attribute.name for attribute in header.attributes]
    if label is not None and label in names:
        target = header.attributes[names.index(label)]
    elif label is not None and need_labels:
        raise DataError(
            f"there is no attribute {quote_value(label)}", where=source, hint=nearest_name(label, names)
        )
    else:
        last = header.attributes[-1] if header.attributes else None
        named = last is not None and last.name.lower() in _TARGET_NAMES
        if last is None or (last.classes is None and not named):
            if not need_labels:
                return None
            raise DataError(
                "which attribute is the label is not known",
                where=source,
                expected="classes in braces, or the name target, class or label, last",
                hint="name it with label=…",
            )
        target = last
    if kind == "numbers" and target.classes is not None:
        raise DataError(
            f"the label {quote_value(target.name)} has classes",
            where=f"{source}, line {target.line}",
            expected="numbers",
            hint="use Classifier (fit classify)",
        )
    return target


def _read_case(text: str, header: _Header, target: _Attribute | None, where: str) -> tuple[Floats, str]:
    if text.startswith("{"):
        raise DataError(
            "a sparse row", where=where, expected="rows with all values", hint="write the zeros out"
        )
    if header.relation is not None:
        return _read_relational(text, header, target, where)
    cells = text.split(",") if "'" not in text and '"' not in text else _cells(text, where)
    attributes = header.attributes
    if len(cells) != len(attributes):
        last = attributes[min(len(cells), len(attributes)) - 1].name
        raise DataError(
            f"the row has {len(cells)} values",
            where=f"{where}, attribute {quote_value(last)}",
            expected=f"{len(attributes)}, one for each attribute",
        )
    place = len(cells) if target is None else attributes.index(target)
    name = _label(cells[place], target, where) if target is not None else ""
    steps = [cell for at, cell in enumerate(cells) if at != place]
    return without_missing_end(numbers_of(",".join(steps), where))[:, None], name


def _read_relational(text: str, header: _Header, target: _Attribute | None, where: str) -> tuple[Floats, str]:
    cells = _cells(text, where)
    if len(cells) != 1 + len(header.attributes) or header.relation is None:
        raise DataError(
            f"the row has {len(cells)} values", where=where, expected=f"{1 + len(header.attributes)}"
        )
    relation, channels = header.relation, []
    for channel, part in enumerate(re.split(r"\\n|\n", cells[0].strip("'\"")), 1):
        place = f"{where}, attribute {quote_value(relation.name)}, channel {channel}"
        values = numbers_of(part, place)
        if len(values) != header.steps:
            raise DataError(
                f"the channel has {len(values)} values",
                where=place,
                expected=f"{header.steps}, the attributes of the relation",
            )
        channels.append(values)
    name = _label(cells[1], target, where) if target is not None else ""
    return without_missing_end(np.stack(channels, axis=1)), name


def _label(cell: str, target: _Attribute, where: str) -> str:
    label = _unquoted(cell.strip())
    where = f"{where}, attribute {quote_value(target.name)}"
    if label in ("?", ""):
        raise DataError("the label is missing", where=where, expected="a class or a number")
    if target.classes is not None:
        check_declared(label, target.classes, where, f"a class that line {target.line} declares")
    return label


def _cells(text: str, where: str) -> list[str]:
    cells: list[str] = []
    at = 0
    while True:
        found = _CELL.match(text, at)
        if found is None:
            raise DataError(
                f"{quote_value(text[at:])} is not a value, or a quote is never closed",
                where=f"{where}, value {len(cells) + 1}",
                expected="values between commas",
            )
        cells.append(found[1].strip())
        at = found.end()
        if not found[2]:
            return cells


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _check_channels(case: Floats, values: list[Floats], lines: list[int], where: str) -> None:
    if values and case.shape[1] != values[0].shape[1]:
        raise DataError(
            f"the case has {case.shape[1]} channels",
            where=where,
            expected=f"{values[0].shape[1]}, as in line {lines[0]}",
        )
