"""Every public name can be imported, says what it takes and gives, and shows an example that runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from import_walk import modules_of

import gatestack

MODULES = list(modules_of(Path(gatestack.__file__).parent))
PUBLIC_PACKAGES = [
    "gatestack",
    "gatestack.compat",
    "gatestack.compat.keras",
    "gatestack.compat.torch",
    "gatestack.convert",
    "gatestack.convert.torch",
    "gatestack.data",
    "gatestack.data.collections",
    "gatestack.errors",
    "gatestack.inspect",
    "gatestack.kernels",
    "gatestack.nn",
    "gatestack.reference",
    "gatestack.reports",
    "gatestack.runtime",
    "gatestack.study",
    "gatestack.tasks",
    "gatestack.tasks.classify",
    "gatestack.tasks.detect",
    "gatestack.tasks.forecast",
    "gatestack.tasks.labelled",
    "gatestack.tasks.regress",
    "gatestack.training",
]
PUBLIC_NAMES = [
    pytest.param(package, name, id=f"{package}.{name}")
    for package in PUBLIC_PACKAGES
    for name in getattr(importlib.import_module(package), "__all__", [])
]

DOCTEST_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

ARRAY_TYPES = re.compile(r"ndarray|NDArray|Tensor|ArrayLike|FloatArray|Array\b")
# "(batch, time, features)", "(n + 1,)", "(4*H, C)", "(2N, T)", "scalar", "one number": a shape, or none.
SHAPE = re.compile(r"\(\s*[\w·*+/ ]+,[^()]*\)|shape|scalar|one number|of length")


def described(obj: object) -> bool:
    """Whether a name is a function or a class; the classes of errors stand in the tree of errors.py."""
    if inspect.isclass(obj):
        return not issubclass(obj, BaseException)
    return inspect.isroutine(obj)


def signatures(obj: object) -> str:
    """Give the annotations of what a function, or the making and calling of a class, takes and returns."""
    functions = [obj]
    if inspect.isclass(obj):
        functions = [vars(obj)[name] for name in ("__init__", "forward", "__call__") if name in vars(obj)]
    return " ".join(str(kind) for f in functions for kind in getattr(f, "__annotations__", {}).values())


def docstrings(obj: object) -> str:
    """Give the docstring of a name, and for a class those of its own public methods as well."""
    texts = [inspect.getdoc(obj) or ""]
    if inspect.isclass(obj):
        texts += [
            inspect.getdoc(member) or ""
            for name, member in vars(obj).items()
            if inspect.isroutine(member) and (not name.startswith("_") or name in ("__init__", "__call__"))
        ]
    return "\n".join(texts)


def missing_parts(obj: object) -> list[str]:
    """Say what the docstring of a public name lacks."""
    text = docstrings(obj)
    missing = []
    if not (inspect.getdoc(obj) or "").strip():
        missing.append("a docstring")
    if described(obj):
        if ">>> " not in text:
            missing.append("an example")
        if ARRAY_TYPES.search(signatures(obj)) and not SHAPE.search(text):
            missing.append("the shapes of its arrays")
    return missing


@pytest.mark.parametrize(("package", "name"), PUBLIC_NAMES)
def test_public_name_is_described(package: str, name: str) -> None:
    obj = getattr(importlib.import_module(package), name)
    if isinstance(obj, ModuleType) or described(obj) or inspect.isclass(obj):
        assert not missing_parts(obj), f"{package}.{name} lacks {', '.join(missing_parts(obj))}"


def test_the_check_of_docstrings_can_fail() -> None:
    def silent(x: object) -> None: ...

    def no_shapes(x: inspect.Signature) -> None:
        """Do it.

        >>> 1
        1
        """

    no_shapes.__annotations__ = {"x": "np.ndarray"}
    assert missing_parts(silent) == ["a docstring", "an example"]
    assert missing_parts(no_shapes) == ["the shapes of its arrays"]
    no_shapes.__doc__ = f"{no_shapes.__doc__}\nArgs:\n    x: values, (N, T, C)."
    assert missing_parts(no_shapes) == []


@pytest.mark.parametrize("package", PUBLIC_PACKAGES)
def test_every_public_name_is_exported(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(package)
    }
    assert own <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize(("package", "name"), PUBLIC_NAMES)
def test_signature_hides_nothing(package: str, name: str) -> None:
    obj = getattr(importlib.import_module(package), name)
    if not described(obj) or getattr(obj, "_is_protocol", False) or obj.__init__ is object.__init__:
        return
    if package in ("gatestack.compat.keras", "gatestack.compat.torch"):
        return  # the signature is that of Keras or torch
    parameters = list(inspect.signature(obj).parameters.values())
    assert not [p.name for p in parameters if p.kind is p.VAR_KEYWORD], "an unknown option must be an error"
    if package == "gatestack.nn":
        assert len(parameters) <= 10, "what composes is its own object"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=DOCTEST_OPTIONS)
    assert result.failed == 0


def test_many_docstring_examples_are_found() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        example
        for name in MODULES
        for found in finder.find(importlib.import_module(name))
        for example in found.examples
    ]
    assert len(examples) > len(MODULES)
