"""What `parley serve` prints when it is ready: where to go, what was opened, what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.persona import Persona
from cli.doctor import network_addresses
from cli.phones import PhonePlan
from web.catalogue import Catalogue
from web.settings import WebSettings


def welcome(
    console: Console,
    settings: WebSettings,
    offered: Catalogue,
    phones: PhonePlan,
    *,
    brain: str,
    max_calls: int,
    took_s: float,
) -> None:
    """Print it."""
    key = f"/#key={quote(settings.secret)}" if settings.secret else ""
    console.print(f"\n  [bold]Parley[/bold] is ready after {took_s:.1f} s. Talk to it at\n")
    console.print(f"  [bold blue underline]{escape(settings.address + key)}[/]\n", soft_wrap=True)

    facts = [
        ("ears", offered.asr),
        ("voice", f"{offered.tts}, {len(offered.voices)} to choose from"),
        ("brain", brain),
        ("who", _names(offered.at("/"))),
        *(
            ("page", f"{settings.address}{path}: {_names(personas)}")
            for path, personas in offered.pages.items()
            if path != "/"
        ),
        *(("phones", doors) for doors in [phones.doors(settings)] if doors),
        ("calls", f"{max_calls} at a time, fewer while the machine is too busy for one more"),
        ("privacy", offered.privacy),
        ("stop", "Ctrl-C; calls under way may finish, a second Ctrl-C ends them"),
    ]
    addresses = network_addresses()
    if settings.host in {"0.0.0.0", "::"} and not settings.public_url:
        urls = " ".join(f"http://{a}:{settings.port}{key}" for a in addresses if ":" not in a)
        facts.insert(0, ("also at", f"{urls} (but browsers lend microphones only to https pages)"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for label, text in facts:
        table.add_row(label, escape(text))
    console.print(table)

    strangers = settings.is_public and settings.open_to_all and not settings.secret
    if strangers or phones.is_open:
        console.print(
            "\n  [bold white on red] Anyone who can reach this address can call, at your expense. [/]"
        )
    if not addresses:
        console.print(
            "\n  [yellow]This machine has no network address but 127.0.0.1, and WebRTC needs one:[/]"
            "\n  calls will not connect. `parley doctor` says more."
        )
    console.print()


def _names(personas: Mapping[str, Persona]) -> str:
    return ", ".join(one.title or one.name for one in personas.values())
