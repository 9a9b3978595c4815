"""How the programs of this folder are run."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from cli.output import show_error
from common.errors import ParleyError


def run(program: Callable[..., None]) -> None:
    """Run a function or a `typer.Typer` as a program; as with `parley`, a mistake ends in one line."""
    try:
        if isinstance(program, typer.Typer):
            program()
        else:
            typer.run(program)
    except ParleyError as error:
        show_error(error)
        sys.exit(1)
