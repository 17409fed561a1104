"""Who imports whom in the three rooms: read from the import statements, wherever they stand.

Every statement counts: those for types only (`if TYPE_CHECKING`) and those within functions too. A file is named by its
module, such as `render.light.prefilter`. The add-on's `..protocol` is the backend's, which build_addon.py copies into it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Graph = dict[str, set[str]]
_BUNDLED, _PROTOCOL = "blender_addon.protocol", "backend.protocol"


@dataclass(frozen=True)
class Source:
    """A Python file: its module's name, its text, and whether it is the `__init__` of a package."""

    module: str
    text: str
    is_package: bool = False

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.module if self.is_package else self.module.rpartition(".")[0]


@dataclass(frozen=True)
class Import:
    """One import statement of a source.

    targets  modules, absolute: of `from a import b` both `a` and `a.b`, of which either may be a file
    line     number of the line, from 1
    level    dots of a relative import, 0 for an absolute one
    late     whether it stands within a function
    runs     whether it is carried out when the file is imported: neither late nor for types only
    """

    targets: tuple[str, ...]
    line: int
    level: int
    late: bool
    runs: bool


def read_sources(root: Path, rooms: tuple[str, ...]) -> dict[str, Source]:
    """The files of the rooms, by module."""
    found = {}
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            found[module] = Source(module, path.read_text(encoding="utf-8"), is_package)
    return found


@cache
def imports_of(source: Source) -> tuple[Import, ...]:
    """The import statements of a source."""
    return tuple(_imports_of(source))


def _imports_of(source: Source) -> Iterator[Import]:
    tree = ast.parse(source.text)
    late = _within(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    typed = _within(
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        is_late, runs = id(node) in late, id(node) not in late | typed
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import((_unbundled(name.name),), node.lineno, 0, is_late, runs)
            continue
        base = node.module or ""
        if node.level:
            package = source.package.split(".")
            kept = package[: len(package) - (node.level - 1)]
            base = ".".join([*kept, base] if base else kept)
        names = (base, *(f"{base}.{name.name}" for name in node.names))
        yield Import(tuple(map(_unbundled, names)), node.lineno, node.level, is_late, runs)


def _within(nodes: Iterable[ast.AST]) -> set[int]:
    """The identities of everything in these parts of a tree."""
    return {id(inner) for node in nodes for inner in ast.walk(node)}


def _unbundled(module: str) -> str:
    is_bundled = module == _BUNDLED or module.startswith(_BUNDLED + ".")
    return _PROTOCOL + module.removeprefix(_BUNDLED) if is_bundled else module


def files_of(found: Import, modules: Mapping[str, object]) -> set[str]:
    """The files that an import statement means: for `from package import module` the module, not its package."""
    base, *names = found.targets
    if not names:
        return {base} & modules.keys()
    inner = {name for name in names if name in modules}
    return inner if len(inner) == len(names) else inner | ({base} & modules.keys())


def file_graph(sources: Mapping[str, Source]) -> Graph:
    """The files that each file imports."""
    graph: Graph = {}
    for module, source in sources.items():
        targets = set[str]().union(*(files_of(found, sources) for found in imports_of(source)))
        graph[module] = targets - {module}
    return graph


def external(found: Import) -> str:
    """The first part of the module that an import statement names, such as `torch`."""
    return found.targets[0].partition(".")[0]


def leading_to(sources: Mapping[str, Source], packages: Set[str]) -> set[str]:
    """The files whose import imports one of these packages, at once or by way of other files."""
    running = {module: [found for found in imports_of(source) if found.runs] for module, source in sources.items()}
    graph = {module: set[str]().union(*(files_of(f, sources) for f in known)) for module, known in running.items()}
    direct = {module for module, known in running.items() if packages & {external(found) for found in known}}
    return {module for module in sources if direct & {module, *reached(graph, module)}}


def folder_of(source: Source) -> str:
    """The folder of a file, as a path; kernels belong to the folder that they are in, `__main__` is its own."""
    if source.module.endswith(".__main__"):
        return source.module.replace(".", "/")
    return source.package.removesuffix(".kernels").replace(".", "/")


def folder_graph(sources: Mapping[str, Source]) -> Graph:
    """The folders that the files of each folder import from."""
    graph: Graph = {folder_of(source): set() for source in sources.values()}
    for module, targets in file_graph(sources).items():
        folder = folder_of(sources[module])
        graph[folder] |= {folder_of(sources[target]) for target in targets} - {folder}
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The names along one circle of the graph, its first at the end again; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])[::-1]
    return []


def reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Every name that the arrows lead to from a name, without itself."""
    found: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found
