from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, ValidationInfo

from common.errors import ConfigError
from common.yamlfile import StrictModel, Unusable, load_yaml, parse_yaml


class Rule(StrictModel):
    say: str
    hear: list[str] = Field(default_factory=list)


class Sheet(StrictModel):
    name: str
    pace: int = 3
    time: str = ""
    language: str = "en"
    rules: list[Rule] = Field(default_factory=list)
    by_name: dict[str, Rule | None] = Field(default_factory=dict)


def problem(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, Sheet, name="sheet.yaml")
    return caught.value


def test_a_file_becomes_a_model(tmp_path: Path):
    path = tmp_path / "sheet.yaml"
    path.write_text("name: ann\nrules:\n  - say: hi\n    hear: [hello]\n", encoding="utf-8")
    assert load_yaml(path, Sheet) == Sheet(name="ann", rules=[Rule(say="hi", hear=["hello"])])


def test_words_stay_words():
    sheet = parse_yaml("name: yes\ntime: 12:30\nlanguage: no\n", Sheet, name="s")
    assert (sheet.name, sheet.time, sheet.language) == ("yes", "12:30", "no")


def test_a_number_with_a_leading_zero_stays_as_written():
    assert parse_yaml("name: 0170", Sheet, name="s").name == "0170"


def test_keys_stay_as_written():
    text = "name: a\nby_name: {+33123: {say: x}, 112: {say: y}}\n"
    assert list(parse_yaml(text, Sheet, name="s").by_name) == ["+33123", "112"]


def test_an_unknown_key_names_file_line_key_and_the_likely_one():
    error = problem("name: ann\nlanguge: en\n")
    assert error.cause == "sheet.yaml, line 2: unknown key 'languge'."
    assert error.cure == "Did you mean 'language'?"


def test_an_unknown_key_deep_inside():
    error = problem("name: a\nrules:\n  - say: x\n  - say: y\n    here: [z]\n")
    assert "line 5: unknown key 'rules.1.here'" in error.cause
    assert error.cure == "Did you mean 'hear'?"


def test_an_unknown_key_inside_a_named_entry():
    error = problem("name: a\nby_name:\n  one:\n    say: x\n    zzz: 1\n")
    assert "line 5" in error.cause
    assert error.cure == "Known keys: hear, say."


def test_a_missing_key_points_at_its_parent():
    error = problem("name: a\nrules:\n  - hear: [x]\n")
    assert "line 3: key 'rules.0.say' is missing" in error.cause


def test_a_wrong_value_is_quoted_and_every_problem_has_a_line():
    error = problem("pace: fast\nextra: 1\n")
    lines = error.cause.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("sheet.yaml, line ") for line in lines)
    assert "(given: 'fast')" in error.cause


def test_a_key_given_twice():
    assert (
        "line 3: key 'name' is given twice (first on line 1)"
        in problem("name: a\npace: 1\nname: b\n").cause
    )


@pytest.mark.parametrize(
    "text",
    [
        "name: [",
        "\tname: a",
        "- a\n- b",
        "just words",
        "name: a\n---\nb: c",
        "a: \x00",
        "name: &a [*a]",
        "name: " + "[" * 3000 + "]" * 3000,
        "name: !!int foo",
        "name: !!bool foo",
        "name: !!timestamp foo",
        "pace: " + "9" * 5000,
    ],
)
def test_not_such_a_file(text: str):
    assert problem(text).cause.startswith("sheet.yaml")


@pytest.mark.parametrize("text", ["name: a\nrules:\n\t- say: x", "name: a\nrules:\n\n  \t- say: x"])
def test_a_tab_is_told_of_as_one(text: str):
    error = problem(text)
    assert error.cause.startswith(f"sheet.yaml, line {text.count(chr(10)) + 1}: ")
    assert error.cure == "Replace the tab: YAML is indented with spaces, not with tabs."
    assert "quotes" in problem("name: `a`").cure


def test_what_a_value_names_may_be_wrong_in_its_own_way(tmp_path: Path):
    def refuse(value: str, info: ValidationInfo) -> str:
        raise Unusable(ConfigError(f"{info.context['folder'] / value} is gone.", "Look for it."))

    class Names(StrictModel):
        file: Annotated[str, AfterValidator(refuse)]

    (tmp_path / "names.yaml").write_text("file: x\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_yaml(tmp_path / "names.yaml", Names)
    assert caught.value.cause == (
        f"{tmp_path / 'names.yaml'}, line 1: 'file': {tmp_path / 'x'} is gone."
    )
    assert caught.value.cure == "Look for it."


def test_an_empty_file_misses_its_keys():
    assert "'name' is missing" in problem("").cause


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "nowhere.yaml", Sheet)
