"""Where the texts come from that a Python file gives away to be shown: followed through names, parameters, and functions.

Blender translates a text without values that is a label or is reported. A text with values in it, and any text that goes to
`blf`, to the status bar or to the system's notifications, has to pass `tr` or its like on its way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

TRANSLATING = {"tr", "tr_tip", "tr_report", "pgettext_iface", "pgettext_tip", "pgettext_rpt"}
RAW_SINKS = {"blf.draw": 1, "status_text_set": 0, "tell_who_is_away": 1}
"""Calls that show a text as it is: by the name, the number of the first argument that is a text."""
TEXT_METHODS = {"strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "capitalize", "replace", "format"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class TextFlow:
    """The ways of texts in one file."""

    def __init__(self, tree: ast.AST) -> None:
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._tree = tree
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        self._calls: dict[str, list[ast.Call]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._calls.setdefault(last_name(node.func), []).append(node)

    def raw(self) -> Iterator[ast.expr]:
        """What is given to calls that show a text as it is."""
        for name, first in RAW_SINKS.items():
            for call in self._calls.get(name.rpartition(".")[2], []):
                if ast.unparse(call.func).endswith(name):
                    yield from call.args[first:]

    def sources(self, node: ast.AST | None) -> list[ast.expr]:
        """The texts that an expression can be and that nothing translates on the way."""
        return list(dict.fromkeys(self._sources(node, set())))

    def _sources(self, node: ast.AST | None, seen: set[ast.AST]) -> Iterator[ast.expr]:
        if node is None or node in seen:
            return
        seen.add(node)
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
            yield node
        elif isinstance(node, ast.Call):
            yield from self._of_call(node, seen)
        else:
            for part in self._parts(node):
                yield from self._sources(part, seen)

    def _parts(self, node: ast.AST) -> list[ast.AST]:
        """What an expression, that is no call and no text itself, takes its texts from."""
        if isinstance(node, ast.IfExp):
            return [node.body, node.orelse]
        if isinstance(node, ast.BoolOp):
            return list(node.values)
        if isinstance(node, (ast.Tuple, ast.List)):
            return list(node.elts)
        if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
            return [node.elt]
        if isinstance(node, ast.Subscript):
            tables = [item for item in self._parts(node.value) if isinstance(item, ast.Dict)]
            return [value for table in tables for value in table.values] or [node.value]
        if isinstance(node, ast.Starred):
            return [node.value]
        if isinstance(node, ast.Name):
            return self._of_name(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return self._assigned(self._tree, ast.unparse(node))
        return []

    def _of_call(self, node: ast.Call, seen: set[ast.AST]) -> Iterator[ast.expr]:
        name = last_name(node.func)
        if name in TRANSLATING:
            return
        if name == "join":
            given: list[ast.AST] = list(node.args)
        elif name in TEXT_METHODS and isinstance(node.func, ast.Attribute):
            given = [node.func.value]
        elif name in self._functions:
            inside = ast.walk(self._functions[name])
            given = [item.value for item in inside if isinstance(item, (ast.Return, ast.Yield)) and item.value]
        else:
            given = []
        for item in given:
            yield from self._sources(item, seen)

    def _of_name(self, node: ast.Name) -> list[ast.AST]:
        """What a name can stand for: of the innermost function that gives it a value, or of the file."""
        scope: ast.AST | None = self._parents.get(node)
        while scope is not None:
            if isinstance(scope, (*FUNCTIONS, ast.Module)):
                found = self._assigned(scope, node.id)
                if isinstance(scope, FUNCTIONS):
                    found += self._given(scope, node.id)
                if found:
                    return found
            scope = self._parents.get(scope)
        return []

    def _assigned(self, scope: ast.AST, name: str) -> list[ast.AST]:
        """The values that `name` gets within a function or the file; of `self.name` too."""
        found: list[ast.AST] = []
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign):
                pairs = [(target, node.value) for target in node.targets]
            elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
                pairs = [(node.target, node.value)]
            elif isinstance(node, (ast.For, ast.comprehension)):
                pairs = [(node.target, item) for item in getattr(node.iter, "elts", [node.iter])]
            elif isinstance(node, ast.Call) and last_name(node.func) in ("append", "extend"):
                owner = node.func.value if isinstance(node.func, ast.Attribute) else None
                pairs = [(owner, item) for item in node.args]
            else:
                continue
            for target, value in pairs:
                found += [part for part in _assigned_to(target, value, name) if part is not None]
        return found

    def _given(self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> list[ast.AST]:
        """What the calls of a function in this file give for a parameter."""
        names = [item.arg for item in (*function.args.posonlyargs, *function.args.args)]
        names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        found: list[ast.AST] = []
        for call in self._calls.get(function.name, []):
            found += [item.value for item in call.keywords if item.arg == name]
            if name in names[: len(call.args)]:
                found.append(call.args[names.index(name)])
        return found


def _assigned_to(target: ast.AST | None, value: ast.AST | None, name: str) -> list[ast.AST | None]:
    """What of `target = value` goes to a name."""
    if isinstance(target, (ast.Name, ast.Attribute)) and ast.unparse(target) == name:
        return [value]
    if isinstance(target, ast.Tuple):
        elements = value.elts if isinstance(value, ast.Tuple) else None
        found: list[ast.AST | None] = []
        for number, part in enumerate(target.elts):
            fits = elements is not None and len(elements) == len(target.elts)
            found += _assigned_to(part, elements[number] if elements is not None and fits else value, name)
        return found
    return []


def last_name(node: ast.AST) -> str:
    """The last name of an expression: `draw` of `blf.draw`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
