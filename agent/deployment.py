"""Which number or page gets which persona: one YAML file per installation."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from agent.llm_choice import check_llm
from agent.persona import Persona, list_personas, load_persona, refuse_namesakes
from common.errors import ConfigError, ParleyError
from common.language import Language
from common.yamlfile import StrictModel, Unusable, load_yaml


def _plain(address: str) -> str:
    """A phone number without its punctuation, or the user of a SIP address: all that calls carry."""
    user = re.sub(r"^sips?:(.+)@.*", r"\1", address.strip().lower())
    digits = re.sub(r"[ ()/.-]", "", user)
    return digits if re.fullmatch(r"\+?\d+", digits) else user


def _number(value: str) -> str:
    number = _plain(value)
    if not re.fullmatch(r"\+\d{2,15}|[^\s:@+][^\s:@]*", number):
        raise ValueError(
            "use international form such as +33 1 23 45 67 89, a sip: address or its user, or *"
        )
    return number


def _page(value: str) -> str:
    if not re.fullmatch(r"/[a-z0-9-]*", value):
        raise ValueError("use a path such as / or /bookings")
    return value


def _persona(name: str, info: ValidationInfo) -> str:
    """What `load_persona` takes; loaded once here, so that mistakes show at start."""
    folder = info.context["folder"] if info.context else Path()
    found = str(folder / name) if name.endswith((".yaml", ".yml")) else name
    try:
        load_persona(found)
    except ConfigError as error:
        raise Unusable(error) from error
    return found


def _llm(spec: str) -> str:
    try:
        check_llm(spec)
    except ParleyError as error:
        raise Unusable(error) from error
    return spec


def _engine(*words: str) -> AfterValidator:
    """What names an engine; whether it can be opened is for `pipelines.engines` to say."""

    def check(spec: str) -> str:
        is_folder = (Path(spec).expanduser() / "params.json").is_file()
        if spec in ("", *words) or "://" in spec or is_folder:
            return spec
        known = ", ".join(words)
        raise ValueError(f"give {known}, the address of a server, or a folder with params.json")

    return AfterValidator(check)


PersonaName = Annotated[str, AfterValidator(_persona)]


class Route(StrictModel):
    """Who answers.

    Attributes:
        persona: Name of a shipped persona, or path of a YAML file, from this one's folder.
        voice: Instead of the persona's own.
        language: Instead of the persona's own.
    """

    persona: PersonaName = "parley"
    voice: str = ""
    language: Language = ""


class Deployment(StrictModel):
    """An installation.

    Attributes:
        llm: Language model, as for `--llm`.
        asr: Recogniser, as for `--asr`; empty for the default.
        tts: Voice engine, as for `--tts`; empty for the default.
        numbers: Route by called number (E.164), by `sip:` address or its user alone (the host
            does not count), or `*` for every other.
        pages: Route by path of the page, `/` being the first.
        personas: What callers may choose from on the page; all shipped ones when left out.
    """

    llm: Annotated[str, AfterValidator(_llm)] = "auto"
    asr: Annotated[str, _engine("nano", "sphinx", "mistral")] = ""
    tts: Annotated[str, _engine("nano", "espeak", "mistral")] = ""
    numbers: dict[Annotated[str, AfterValidator(_number)], Route] = Field(default_factory=dict)
    pages: dict[Annotated[str, AfterValidator(_page)], Route] = Field(
        default_factory=lambda: {"/": Route()}
    )
    personas: list[PersonaName] = Field(default_factory=list, min_length=1)

    @field_validator("numbers", mode="wrap")
    @classmethod
    def _each_number_once(
        cls, given: Any, validate: ValidatorFunctionWrapHandler
    ) -> dict[str, Route]:
        routes: dict[str, Route] = validate(given)
        for number in routes:
            same = [key for key in given if _plain(key) == number]
            if len(same) > 1:
                raise ValueError(f"{' and '.join(same)} are the same number")
        return routes

    @model_validator(mode="after")
    def _has_a_front_page(self) -> Deployment:
        if "/" not in self.pages:
            raise ValueError("`pages` has no route for '/', the front page")
        return self

    def for_number(self, number: str) -> Route:
        """The route for a called number.

        Raises:
            ConfigError: Nobody is to answer it.
        """
        called = _plain(number)
        spellings = called, f"+{called}", "*"  # some networks leave out the +
        route = next(filter(None, map(self.numbers.get, spellings)), None)
        if route is None:
            raise ConfigError(
                f"No route for the number {number}.", "Add it under `numbers`, or `*`."
            )
        return route

    def for_page(self, path: str) -> Route:
        """The route for a page's path; the front page's for unknown ones."""
        return self.pages.get(path) or self.pages["/"]

    def for_caller_of(self, number: str, *, default: Persona) -> Persona:
        """Who answers a called number; `default` when the installation names no numbers at all.

        Raises:
            ConfigError: It names numbers, and this is none of them.
        """
        return self.persona(self.for_number(number)) if self.numbers else default

    def persona(self, route: Route) -> Persona:
        """The persona of a route, with the route's own voice and language.

        Raises:
            ConfigError: There is no such persona, or its file is malformed.
        """
        chosen = {"voice": route.voice, "language": route.language}
        persona = load_persona(route.persona)
        return persona.model_copy(update={key: value for key, value in chosen.items() if value})

    @property
    def front(self) -> Persona:
        """Who answers on the front page unless the caller chooses somebody else."""
        return self.persona(self.for_page("/"))

    def who_answers(self) -> dict[str, tuple[Persona, ...]]:
        """By page: on the front page its own persona and the `choice`, on any other just its own."""
        pages = {path: (self.persona(route),) for path, route in self.pages.items()}
        others = (other for other in self.choice if other.name != self.front.name)
        return pages | {"/": (self.front, *others)}

    @cached_property
    def choice(self) -> tuple[Persona, ...]:
        """The personas callers may choose from on the page."""
        return tuple(map(load_persona, self.personas)) or tuple(list_personas())


def load_deployment(path: Path) -> Deployment:
    """Read a deployment file, and every persona it names, so that mistakes show at start.

    Raises:
        ConfigError: One of them is malformed or missing; names file, line and key. Or two that are
            offered together have the same name.
    """
    deployment = load_yaml(path, Deployment)
    if deployment.personas:  # else a front persona may stand in for a shipped one of its name
        refuse_namesakes((deployment.front, *deployment.choice))
    return deployment
