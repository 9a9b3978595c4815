"""Where commands write their results, and how their mistakes are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from common.errors import AudioError, ParleyError


def show_error(error: ParleyError) -> None:
    """Say on stderr what went wrong, and how to mend it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]parley:[/bold red] {escape(error.cause)}")
    if error.cure:
        console.print(f"        {escape(error.cure)}")


def run_program(program: Callable[..., None]) -> None:
    """Run a function or a `typer.Typer` as a program: a mistake ends in one line and exit code 1."""
    try:
        if isinstance(program, typer.Typer):
            program()
        else:
            typer.run(program)
    except ParleyError as error:
        show_error(error)
        sys.exit(1)


def check_writable(path: Path) -> None:
    """Make sure a file can be written, before work is spent on what goes into it.

    Raises:
        AudioError: Its folder is missing or closed to us, or the path is a folder.
    """
    if not path.absolute().parent.is_dir():
        raise AudioError(f"There is no folder {path.parent}.", "Create it, or write elsewhere.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise AudioError(f"{path} cannot be written.", "Choose another path.")


def check_folder(path: Path) -> None:
    """Make sure that files can be written into a folder, made here if it is missing.

    Raises:
        ParleyError: It cannot be made, is closed to us, or its own folder is missing.
    """
    if not path.absolute().parent.is_dir():
        raise ParleyError(f"There is no folder {path.parent}.", "Create it, or write elsewhere.")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ParleyError(
            f"{path} cannot be made: {error.strerror}.", "Choose another folder."
        ) from error
    if not os.access(path, os.W_OK):
        raise ParleyError(f"{path} is closed to us.", "Choose another folder.")
