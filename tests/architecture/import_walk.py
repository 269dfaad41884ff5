"""Which module of a package imports which other, read from the source without running it.

Imports inside functions and under `TYPE_CHECKING` count as well: both are knowledge of the other module.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# importer -> {imported: line of the import}
Edges = dict[str, dict[str, int]]


def modules_of(package: Path) -> dict[str, Path]:
    """Name every module of the package in this folder, as `package.folder.file`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def walk_imports(package: Path) -> Edges:
    """Find the imports between the modules of the package in this folder; others are left out."""
    modules = modules_of(package)
    edges: Edges = {}
    for module, path in modules.items():
        seen: dict[str, int] = {}
        for name, line in _imported_names(path, module):
            if name.split(".")[0] == package.name:
                target = _module_holding(name, modules)
                if target != module:
                    seen.setdefault(target, line)
        edges[module] = seen
    return edges


def _imported_names(path: Path, module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                kept = package[: len(package) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


def _module_holding(name: str, modules: dict[str, Path]) -> str:
    """Give the module that `name` is, or the one it is taken from."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def find_circle(edges: Edges) -> list[str] | None:
    """Find modules that import each other in a circle: `[a, b, a]`, or None where there is none."""
    state: dict[str, str] = {}
    path: list[str] = []

    def visit(module: str) -> list[str] | None:
        state[module] = "open"
        path.append(module)
        for target in edges.get(module, {}):
            if state.get(target) == "open":
                return [*path[path.index(target) :], target]
            if target not in state:
                circle = visit(target)
                if circle:
                    return circle
        path.pop()
        state[module] = "done"
        return None

    for module in edges:
        if module not in state:
            circle = visit(module)
            if circle:
                return circle
    return None
