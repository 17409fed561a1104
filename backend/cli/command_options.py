"""A command's options by name, read from its parser: so a file of jobs has whatever the command line has."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from backend.cli.batch_arguments import OF_THE_BATCH, SELECTION


class OptionError(Exception):
    """An option that there is not, or a value that it cannot have. ``name``: of the option; empty if that is not known."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class _Parser(argparse.ArgumentParser):
    """It raises what it would print."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


class CommandOptions:
    """The options of one command, except those that select objects and those of a batch."""

    def __init__(self, add_arguments: Callable[[argparse.ArgumentParser], None]) -> None:
        """``add_arguments``: what gives a parser the arguments of the command."""
        self._parser = _Parser(add_help=False)
        add_arguments(self._parser)
        self._defaults: dict[str, Any] = {}
        self._options: dict[str, argparse.Action] = {}
        for action in self._parser._actions:
            self._defaults[action.dest] = action.default
            action.default = argparse.SUPPRESS  # so that what is parsed tells what was given
            if action.dest not in SELECTION + OF_THE_BATCH:
                names = (name for name in action.option_strings if name.startswith("--"))
                self._options.update((name[2:], action) for name in names)

    @property
    def names(self) -> tuple[str, ...]:
        """The options, as on the command line without the dashes."""
        return tuple(self._options)

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of all arguments where nothing is given, by the name of the attribute."""
        return dict(self._defaults)

    def given(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The options that a command line gives. Raises OptionError."""
        chosen = vars(self._parser.parse_args(list(arguments)))
        return {name: value for name, value in chosen.items() if name not in SELECTION + OF_THE_BATCH}

    def parse(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of options by their names, as a file of jobs has them: true or false, a number, a text, or a list.

        Raises OptionError.
        """
        words: list[str] = []
        off: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self._options:
                raise OptionError(f'there is no key "{name}"{nearest(name, self.names)}', name)
            action = self._options[name]
            if action.nargs == 0 and value is False:
                off[action.dest] = self._defaults[action.dest]
                continue
            own = _words(action, name, value)
            try:
                self.given(own)  # by itself, so that an error has its name
            except OptionError as error:
                raise OptionError(str(error).removeprefix("argument "), name) from error
            words += own
        return off | self.given(words)


def _words(action: argparse.Action, name: str, value: Any) -> list[str]:
    """An option with its value as on the command line. Raises OptionError."""
    if action.nargs == 0:
        if value is not True:
            raise OptionError(f'"{name}" is true or false, not {value!r}', name)
        return [f"--{name}"]
    if isinstance(value, (bool, dict)):
        raise OptionError(f'"{name}" needs a value, not {str(value).lower()}', name)
    if not isinstance(value, list):
        return [f"--{name}={value}"]
    if action.nargs is not None:
        return [f"--{name}", *map(str, value)]
    if isinstance(action, argparse._AppendAction):
        return [f"--{name}={one}" for one in value]
    return [f"--{name}={','.join(map(str, value))}"]


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a sentence that names the most similar name, if one is; for an underscore that should be a dash too."""
    found = difflib.get_close_matches(name.replace("_", "-"), names, n=1)
    return f'; is "{found[0]}" meant?' if found else f"; there are {', '.join(sorted(names))}"
