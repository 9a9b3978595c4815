"""`parley`: every command, loaded only when it is asked for so that `--help` answers at once."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from cli.log import set_up_log
from cli.output import run_program

# name → module, attribute, one line for the overview (the command's own docstring says the rest)
_COMMANDS = {
    "serve": ("cli.serve", "serve", "Start the server and talk in a browser."),
    "call": ("cli.call", "call", "Let a recording call the agent; get both sides as a stereo wav."),
    "say": ("cli.say", "say", "Speak a text into a 24 kHz wav."),
    "transcribe": ("cli.transcribe", "transcribe", "Write down what recordings say, word by word."),
    "voice": ("cli.voice", "voice", "Add, list, check and remove voices."),
    "codec": ("cli.codec", "codec", "Turn speech into codes and back."),
    "transcript": ("cli.transcript", "transcript", "Write down who said what in a recorded call."),
    "replay": ("cli.replay", "replay", "Feed a recorded call through turn-taking once more."),
    "doctor": ("cli.doctor", "doctor", "Check this machine and say how to mend what is wrong."),
}


class _Lazy(TyperGroup):
    """The overview knows every command; a command's module is imported when it is run."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=about) for name, (_, _, about) in _COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, _load(str(name)), rest


def _load(name: str) -> Any:
    module, attribute, _ = _COMMANDS[name]
    found = getattr(import_module(module), attribute)
    is_group = isinstance(found, typer.Typer)
    commands = found if is_group else typer.Typer(add_completion=False)
    if not is_group:
        commands.command(name)(found)
    for command in commands.registered_commands:
        command.help = _flowing(command.callback.__doc__ or "")
    loaded = get_group(commands) if is_group else get_command(commands)
    loaded.name = name
    for command in [loaded, *getattr(loaded, "commands", {}).values()]:
        for parameter in command.params:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""  # "--json <bool>" would promise that it takes a value
    return loaded


def _flowing(text: str) -> str:
    """A docstring for the terminal: paragraphs fill the window, every example is a line."""
    text = re.sub(r"(?<!\n)\n(?![\n ])", " ", inspect.cleandoc(text))
    text = re.sub(r"\n\n(?=    )", "\n", text)
    return re.sub(r"(?m)^    ", "$ ", text)


app = typer.Typer(
    cls=_Lazy,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they may hold what people said
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("parley"))
        raise typer.Exit


@app.callback()
def parley(
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A real-time, full-duplex voice agent that runs on hardware you own.

    Nothing to configure: [bold]parley serve[/bold] and open the address it prints.
    """


def main() -> None:
    """Run a command; mistakes end in one clear line.

    Exit codes: 0 done, 1 it could not be done (the line says why and how to mend it), 2 the command
    line was wrong, 130 interrupted.
    """
    set_up_log()
    try:
        run_program(app)
    except KeyboardInterrupt:
        sys.exit(130)
