"""The texts of one Python file: what its expressions say, as far as the source tells.

An f-string is a text with placeholders, named as what is put in. Alternatives that the source itself names (a conditional
expression, a table of constants, a variable with one value) are put in: each makes a text of its own, so that a translator
has whole sentences.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator

from support.text_flow import TextFlow

MOST_ALTERNATIVES = 16
MOST_VALUES = 4  # of a table that is put into sentences


LABEL_ARGUMENTS = {"name", "description", "text", "heading", "title", "confirm_text"}
LABELLED = re.compile(r"(.*Property|label|operator|prop|menu|column|row|progress|invoke_\w+|popup_menu|panel)$")
TEXT_CALLS = {"tr", "tr_tip", "tr_report", "poll_message_set", "draw_text", "draw_line", "draw_lines", "_say", "_show"}
SAYING_CALLS = {"report", "poll_message_set"}
SHOWN_TABLES = {"LABELS", "LOBES", "MAP_LABELS", "REMEDIES"}
"""Names of tables whose values are shown, each for itself."""
IDENTIFIER = re.compile(r"[A-Z][A-Z0-9_]{3,}")  # of icons and the like
PLACEHOLDER = re.compile(r"\{\w+\}")


class TextReader:
    """Reads one file. is_addon: whether tuples may be items of a setting."""

    def __init__(self, source: str, is_addon: bool) -> None:
        self.tree, self.is_addon = ast.parse(source), is_addon
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.put_in: set[ast.AST] = set()
        # The values of names, by function or file.
        self.scopes: dict[ast.AST, dict[str, ast.expr | None]] = {}

    def texts(self) -> Iterator[str]:
        """The texts that the file shows, in the order of its lines."""
        expressions = [node for node in ast.walk(self.tree) if self._is_text(node) or self._is_named_label(node)]
        expressions.sort(key=lambda node: (node.lineno, node.col_offset))
        read = [(node, self.alternatives(node)) for node in expressions]
        for node, texts in read:
            # What was put into another text is shown only there.
            if node in self.put_in:
                continue
            is_label, is_logged = self.is_label(node), self._is_logged(node)
            for text in texts:
                is_shown = (is_label or is_prose(text)) and not is_logged and not IDENTIFIER.fullmatch(text)
                if is_shown and has_words(text):
                    yield text

    def untranslated(self) -> list[int]:
        """The lines of texts that are shown as they are though Blender cannot translate them: labels and reports with values in
        them, and all that goes to `blf`, the status bar, and notifications, followed through names and functions."""
        flow = TextFlow(self.tree)
        found = set()
        for call in (node for node in ast.walk(self.tree) if isinstance(node, ast.Call)):
            name = _called(call)
            given = [
                item.value
                for item in call.keywords
                if item.arg in ("text", "heading", "title") and LABELLED.match(name)
            ]
            given += call.args if name in SAYING_CALLS else []
            for text in (source for value in given for source in flow.sources(value)):
                is_composed = isinstance(text, ast.JoinedStr) or self._is_sum(text)
                said = self.alternatives(text) if is_composed else []
                found.update(text.lineno for one in said if PLACEHOLDER.search(one) and needs_translation(one))
        for text in (source for value in flow.raw() for source in flow.sources(value)):
            found.update(text.lineno for one in self.alternatives(text) if needs_translation(one))
        return sorted(found)

    def _is_text(self, node: ast.AST) -> bool:
        parent = self.parents.get(node)
        if self._is_sum(parent) or isinstance(parent, (ast.JoinedStr, ast.FormattedValue)):
            return False  # the whole is the text
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and (self._is_tooltip(node) or not isinstance(parent, ast.Expr))
        return isinstance(node, ast.JoinedStr) or self._is_sum(node)

    def _is_sum(self, node: ast.AST | None) -> bool:
        """Whether an expression adds texts."""
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
            return False
        return any(
            isinstance(part, ast.JoinedStr) or _is_words(part) or self._is_sum(part) for part in (node.left, node.right)
        )

    def _is_tooltip(self, node: ast.Constant) -> bool:
        statement = self.parents.get(node)
        owner = self.parents.get(statement) if statement is not None else None
        if not isinstance(owner, ast.ClassDef) or owner.body[0] is not statement:
            return False
        described = [_name(item.targets[0]) for item in owner.body if isinstance(item, ast.Assign)]
        return _has_tooltip(owner) and "bl_description" not in described

    def _is_logged(self, node: ast.AST) -> bool:
        call = self.parents.get(node)
        return (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and "log" in _name(call.func.value).lower()
        )

    def _is_named_label(self, node: ast.AST) -> bool:
        """Whether a name is a label, and the file says what it stands for."""
        is_name = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        return is_name and self.is_label(node) and isinstance(self._value_of(node), (ast.Constant, ast.IfExp))

    def is_label(self, node: ast.AST) -> bool:
        """Whether an expression is a label, a tooltip, or another text that is certainly shown."""
        if isinstance(node, ast.Constant) and self._is_tooltip(node):
            return True
        parent = self.parents.get(node)
        if isinstance(parent, ast.IfExp) and node is not parent.test:
            return self.is_label(parent)
        if isinstance(parent, ast.keyword):
            name = _called(self.parents[parent])
            is_title = name == "Finding" and parent.arg == "title"
            return is_title or parent.arg == "message" or bool(parent.arg in LABEL_ARGUMENTS and LABELLED.match(name))
        if isinstance(parent, ast.Call) and node in parent.args and _called(parent) in TEXT_CALLS:
            return True
        if isinstance(parent, ast.Dict) and node in parent.values:
            return self._table(parent) in SHOWN_TABLES
        if isinstance(parent, ast.Assign):
            return _name(parent.targets[0]) in ("bl_label", "bl_description")
        if isinstance(parent, ast.Tuple) and _called(self.parents[parent]) == "" and self.is_addon:
            return _is_item(parent) and node in parent.elts[1:3]
        return False

    def _table(self, node: ast.Dict) -> str:
        """The name that a table has."""
        assignment = self.parents.get(node)
        targets = assignment.targets if isinstance(assignment, ast.Assign) else [getattr(assignment, "target", None)]
        return _name(targets[0]) if targets[0] is not None else ""

    # What an expression says -------------------------------------------------------------------------------------

    def alternatives(self, node: ast.expr) -> list[str]:
        """The texts that an expression can be, placeholders for what only the run tells."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.JoinedStr):
            return _named(self._joined([self._parts(value) for value in node.values]))
        if isinstance(node, ast.BinOp) and self._is_sum(node):
            return _named(self._joined([self._parts(node.left), self._parts(node.right)]))
        return ["".join(option) for option in self._parts(node)]

    def _joined(self, parts: list[list[str]]) -> list[str]:
        count = 1
        for options in parts:
            count *= len(options)
        if count > MOST_ALTERNATIVES:
            return ["".join(options[0] if len(options) == 1 else "{value}" for options in parts)]
        return ["".join(combination) for combination in itertools.product(*parts)]

    def _parts(self, node: ast.expr) -> list[str]:
        """What a part of a text can be."""
        if isinstance(node, ast.FormattedValue):
            return self._parts(node.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.JoinedStr) or self._is_sum(node):
            values = node.values if isinstance(node, ast.JoinedStr) else [node.left, node.right]
            return self._used(node, self._joined([self._parts(value) for value in values]))
        if isinstance(node, ast.IfExp):
            both = [*self._parts(node.body), *self._parts(node.orelse)]
            if any(has_words(text) or not text for text in both):
                return self._used(node, list(dict.fromkeys(both)))
        before = set(self.put_in)
        value = self._value_of(node)
        if value is not None and value is not node:
            found = self._parts(value)
            if all(has_words(text) or not text.strip() for text in found):
                # What the whole file can use may be shown alone too.
                is_everywhere = isinstance(node, ast.Name) and value in self._values_of_file()
                return found if isinstance(value, ast.Dict) or is_everywhere else self._used(value, found)
        self.put_in = before
        return ["{" + _placeholder(node) + "}"]

    def _used(self, node: ast.expr, found: list[str]) -> list[str]:
        self.put_in.update(ast.walk(node))
        return found

    def _value_of(self, node: ast.expr) -> ast.expr | None:
        """The expression that a name stands for, if the file has just one."""
        if isinstance(node, ast.Subscript):
            table = self._value_of(node.value)
            fits = isinstance(table, ast.Dict) and 0 < len(table.values) <= MOST_VALUES
            if isinstance(table, ast.Dict) and fits and all(_is_words(value) for value in table.values):
                self.put_in.update([] if self._table(table) in SHOWN_TABLES else table.values)
                options = table.values[0]
                for value in table.values[1:]:
                    options = ast.IfExp(test=ast.Constant(True), body=options, orelse=value)
                return options
            return None
        if isinstance(node, ast.Dict):
            return node
        if not isinstance(node, ast.Name):
            return None
        scope = self._scope(node)
        while scope is not None:
            values = self.scopes.get(scope)
            if values is None:
                values = self.scopes[scope] = _assigned(scope)
            if node.id in values:
                found = values[node.id]
                return found if isinstance(found, (ast.Constant, ast.JoinedStr, ast.IfExp, ast.Dict)) else None
            scope = self._scope(scope)
        return None

    def _values_of_file(self) -> list[ast.expr | None]:
        return list(self.scopes.get(self.tree, {}).values())

    def _scope(self, node: ast.AST) -> ast.AST | None:
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, (ast.FunctionDef, ast.Module)):
            parent = self.parents.get(parent)
        return parent


def has_words(text: str) -> bool:
    """Whether there is anything to translate in a text."""
    return re.search(r"[A-Za-z]{2,}", PLACEHOLDER.sub("", text)) is not None


def needs_translation(text: str) -> bool:
    """Whether a text has words beside PBRfit's name."""
    return has_words(text.removeprefix("PBRfit: "))


def is_prose(text: str) -> bool:
    """Whether a text is a sentence or a phrase, and not an identifier: words in lower case, with a space between."""
    if re.search(r"[\\|]|\bimport |%[sd]", text):
        return False  # a pattern, a program, or a line of a log
    if PLACEHOLDER.search(text) and re.search(r"(^|\s)[A-Z][a-z]{2,}\s|\s[A-Z][a-z]{2,}($|\s)", text):
        return True  # a label with a value in it
    words = PLACEHOLDER.sub("X", text).split()
    return len(words) > 1 and any(re.fullmatch(r"[\"'(]*[a-z][a-z'-]*[\"').,:;]*", word) for word in words)


def _assigned(scope: ast.AST) -> dict[str, ast.expr | None]:
    """The names that a function or a file gives a value, with that value where it is the only one."""
    values: dict[str, ast.expr | None] = {}
    arguments = scope.args if isinstance(scope, ast.FunctionDef) else None
    if arguments is not None:
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        values |= dict.fromkeys(item.arg for item in named)
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            values[node.id] = None
    counted: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            counted.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            for number, target in enumerate(node.targets[0].elts):
                counted.setdefault(_name(target), []).append(_element(node.value, number))
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)) and isinstance(node.target, ast.Name):
            counted.setdefault(node.target.id, []).append(node.value if isinstance(node, ast.AnnAssign) else None)
    for name, found in counted.items():
        values[name] = found[0] if len(found) == 1 else None
    return values


def _element(node: ast.expr, number: int) -> ast.expr | None:
    """What a target of `one, other = node` gets, if the source says it."""
    if isinstance(node, ast.Tuple) and not any(isinstance(item, ast.Starred) for item in node.elts):
        return node.elts[number]
    if isinstance(node, ast.IfExp):
        body, orelse = _element(node.body, number), _element(node.orelse, number)
        return ast.IfExp(test=node.test, body=body, orelse=orelse) if body is not None and orelse is not None else None
    return None


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _has_tooltip(owner: ast.ClassDef) -> bool:
    """Whether a class is an operator or a menu, whose docstring is a tooltip."""
    return bool({_name(base) for base in owner.bases} & {"Operator", "Menu"})


def _is_item(node: ast.AST | None) -> bool:
    """Whether a tuple may be an item of an enum: an identifier, a label and a description, or more."""
    if not isinstance(node, ast.Tuple) or not 3 <= len(node.elts) <= 5:
        return False
    identifier, label, description = node.elts[:3]
    texts = (ast.JoinedStr, ast.IfExp)
    described = isinstance(description, texts) or (
        isinstance(description, ast.Constant)
        and isinstance(description.value, str)
        and (not description.value or is_prose(description.value))
    )
    named = isinstance(identifier, ast.Name) or _is_words(identifier)
    return named and described and (_is_words(label) or isinstance(label, texts))


def _called(node: ast.AST) -> str:
    return _name(node.func) if isinstance(node, ast.Call) else ""


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _placeholder(node: ast.expr) -> str:
    """A name for what an expression puts in."""
    if isinstance(node, ast.Subscript):
        return _placeholder(node.value)
    if isinstance(node, ast.Call):
        if node.args:
            return _placeholder(node.args[0])
        of_value = isinstance(node.func, ast.Attribute) and node.func.attr in dir(str) + dir(dict)
        return _placeholder(node.func.value if isinstance(node.func, ast.Attribute) and of_value else node.func)
    if isinstance(node, ast.BinOp):
        return _placeholder(node.right if isinstance(node.left, ast.Constant) else node.left)
    if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
        return _placeholder(node.generators[0].iter)
    return _name(node).strip("_").lower() or "value"


def _named(texts: Iterable[str]) -> list[str]:
    """The texts, with a number after the name of each placeholder that has the name of an earlier one."""
    found = []
    for text in texts:
        counts: dict[str, int] = {}

        def numbered(place: re.Match[str], counts: dict[str, int] = counts) -> str:
            name = place[0][1:-1]
            counts[name] = counts.get(name, 0) + 1
            return place[0] if counts[name] == 1 else "{" + f"{name}{counts[name]}" + "}"

        found.append(PLACEHOLDER.sub(numbered, text))
    return found
