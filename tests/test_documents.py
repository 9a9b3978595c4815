"""What the documents claim: links lead somewhere, and every command line is one that parley takes."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command, get_group

from cli.main import _COMMANDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
CODE = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.M | re.S)


def links():
    return [(doc.name, link) for doc in DOCUMENTS for link in LINK.findall(doc.read_text())]


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


@pytest.mark.parametrize(("document", "link"), links())
def test_links_lead_somewhere(document, link):
    base = ROOT if document == "README.md" else ROOT / "docs"
    assert (base / link).exists(), f"{document} links to {link}"


@pytest.mark.parametrize(("document", "line"), commands())
def test_command_lines_are_ones_that_parley_takes(document, line):
    name, *arguments = shlex.split(line)
    module, attribute, _ = _COMMANDS[name]
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command = get_group(found)
    else:
        app = typer.Typer()
        app.command()(found)
        command = get_command(app)
    context = command.make_context(name, list(arguments))
    if isinstance(found, typer.Typer):
        sub, subcommand, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        subcommand.make_context(sub, rest, parent=context)


def test_the_documents_were_read():
    assert len(commands()) >= 8
    assert len(links()) >= 10
