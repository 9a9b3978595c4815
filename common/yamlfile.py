"""Strict YAML: a file becomes a pydantic model, or an error naming file, line and key.

Scalars follow the YAML 1.2 core schema, so that `no` is a word (or Norwegian), `12:30` is a time of
day written by a person, and only `true` and `false` are booleans. A key given twice is an error.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from common.errors import ConfigError, ParleyError


class StrictModel(BaseModel):
    """Base of everything read from a configuration file: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Unusable(ValueError):
    """What a validator raises when the thing that a value names is wrong, with the cure for that."""

    def __init__(self, error: ParleyError):
        super().__init__(error.cause)
        self.cure = error.cure


_TABS = "Replace the tab: YAML is indented with spaces, not with tabs."
_QUOTES = "Mend the YAML; texts with `:`, `#`, `?`, `,` or brackets may want quotes."

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_yaml(path: Path, model: type[ModelT]) -> ModelT:
    """Read the file at `path` as a `model`; validators find its `folder` in their context.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or does not fit the model; the cause
            has one line per problem, each with file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    return parse_yaml(text, model, name=str(path), folder=path.parent)


def parse_yaml(text: str, model: type[ModelT], *, name: str, folder: Path = Path()) -> ModelT:
    """Read `text` as a `model`; `name` stands for the file in errors, `folder` is where it lies.

    Raises:
        ConfigError: As for `load_yaml`.
    """
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            _refuse_repeated_keys(root, name)
            data = {} if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        cure = _TABS if r"'\t'" in str(error.problem) else _QUOTES
        raise ConfigError(f"{name}, line {line}: {error.problem}.", cure) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {error}", "Mend the YAML.") from error
    except RecursionError as error:
        raise ConfigError(f"{name} nests too deep, or in itself.", "Mend the YAML.") from error
    except (ValueError, KeyError, AttributeError) as error:  # PyYAML's own for `!!int foo`
        raise ConfigError(f"{name}: a value is not what its tag says.", _QUOTES) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{name}, line 1: expected `key: value` lines.", "Mend the YAML.")
    try:
        return model.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        problems = [_describe(detail, root, model) for detail in error.errors()]
        causes = [f"{name}, line {line}: {cause}" for line, cause, _ in sorted(problems)]
        raise ConfigError("\n".join(causes), sorted(problems)[0][2]) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's idea of what is a boolean and what is a number.

    Keys are always text as written: `+33123456789:` is no number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
_ANY_START = [*"+-0123456789tfn~", ""]
for _tag, _pattern in (
    ("null", r"~|null|"),
    ("bool", r"true|false"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)"),  # no octal, no base 60
    ("float", r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _ANY_START
    )


def _walk(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if node is None:
        return
    yield node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk(key)
            yield from _walk(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _walk(value)


def _refuse_repeated_keys(root: yaml.Node | None, name: str) -> None:
    for node in _walk(root):
        if not isinstance(node, yaml.MappingNode):
            continue
        first_line: dict[Hashable, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in first_line:
                raise ConfigError(
                    f"{name}, line {line}: key '{key.value}' is given twice "
                    f"(first on line {first_line[str(key.value)]}).",
                    "Keep one of them.",
                )
            first_line[str(key.value)] = line


def _describe(
    detail: ErrorDetails, root: yaml.Node | None, model: type[BaseModel]
) -> tuple[int, str, str]:
    """Return line (from 1), cause and cure of one pydantic problem."""
    loc = detail["loc"]
    line = _line_of(loc, root)
    key = ".".join(str(part) for part in loc)
    if detail["type"] == "extra_forbidden":
        known = sorted(_known_keys(loc[:-1], model))
        close = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(known)}."
        return line, f"unknown key '{key}'.", hint
    if detail["type"] == "missing":
        return line, f"key '{key}' is missing.", f"Add `{loc[-1]}: …`."
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Unusable):
        return line, f"'{key}': {error}", error.cure
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    given = "" if isinstance(detail["input"], dict | list) else f" (given: {detail['input']!r})"
    cause = f"'{key}': {message}{given}." if loc else f"{message}."
    return line, cause, "Mend that line."


def _line_of(loc: tuple[int | str, ...], root: yaml.Node | None) -> int:
    """Line, from 1, of the deepest part of `loc` that the file holds."""
    node, line = root, 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(part):
                    node, line = value, key.start_mark.line + 1
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _known_keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> set[str]:
    """Keys the models at `loc` accept; list indices, dict keys and union tags are passed over."""
    here = {model}
    for part in loc:
        fields = [field for m in here for name, field in m.model_fields.items() if name == part]
        inside = {m for field in fields for m in _models_in(field.annotation)}
        here = inside or here
    return {field.alias or name for m in here for name, field in m.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
