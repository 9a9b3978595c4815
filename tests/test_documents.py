"""What the documents claim: links lead somewhere, and every command line is one that is taken."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from cli.main import _COMMANDS

ROOT = Path(__file__).parent.parent
CARDS = [ROOT / "asr/nano/CARD.md", ROOT / "tts/nano/README.md"]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *CARDS]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MODULE = re.compile(r"python -m ((?:training|evals|benchmarks)[\w.]*)([^\n`#|&]*)")
CODE = re.compile(r"^```(?:sh)?\n(.*?)^```", re.M | re.S)


def links():
    return [(doc.parent / link) for doc in DOCUMENTS for link in LINK.findall(doc.read_text())]


def modules():
    return sorted({found for doc in DOCUMENTS for found in MODULE.findall(doc.read_text())})


def commands():
    found = []
    for doc in DOCUMENTS:
        for block in CODE.findall(doc.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.split(r"\s#\s", line)[0].strip()
                match = re.search(r"(?:^|[/\s])parley (.*)$", line)
                if match:
                    found.append((doc.name, re.split(r"\s[|>&]", match[1])[0].strip()))
    return found


def takes(command, name, arguments):
    """Fail unless a command takes these arguments; for a group, unless its command does."""
    if isinstance(command, typer.core.TyperGroup) and not arguments:
        return  # it tells its commands
    context = command.make_context(name, arguments)
    if isinstance(command, typer.core.TyperGroup):
        sub, subcommand, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        subcommand.make_context(sub, rest, parent=context)


def as_command(found):
    if isinstance(found, typer.Typer):
        return get_command(found)
    app = typer.Typer()
    app.command()(found)
    return get_command(app)


@pytest.mark.parametrize("target", links(), ids=str)
def test_links_lead_somewhere(target):
    assert target.exists()


@pytest.mark.parametrize(("document", "line"), commands())
def test_command_lines_are_ones_that_parley_takes(document, line, tmp_path, monkeypatch):
    name, *arguments = shlex.split(line)
    monkeypatch.chdir(tmp_path)
    for log in (argument for argument in arguments if argument.endswith(".jsonl")):
        Path(log).touch()  # it must be there to be read
    module, attribute, _ = _COMMANDS[name]
    takes(as_command(getattr(import_module(module), attribute)), name, arguments)


@pytest.mark.parametrize(("module", "line"), modules())
def test_command_lines_are_ones_that_a_module_takes(module, line):
    package = (ROOT / Path(*module.split("."))).is_dir()
    found = import_module(f"{module}.__main__" if package else module)
    entry = next(getattr(found, name) for name in ("app", "main", "run") if hasattr(found, name))
    takes(as_command(entry), module, shlex.split(line))


def test_the_documents_were_read():
    assert len(commands()) >= 8
    assert len(modules()) >= 20
    assert len(links()) >= 10
