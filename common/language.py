"""Language tags, as files and options give them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def language_tag(tag: str) -> str:
    """The tag, if it is one.

    Raises:
        ValueError: It is not.
    """
    # Longer first parts are well-formed too, but no language has one: "english" is a mistake.
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", tag):
        raise ValueError("use a language tag such as en, fr or pt-BR")
    return tag


Language = Annotated[str, AfterValidator(language_tag)]
"""A BCP 47 tag. Which languages can be heard and spoken is for the engines to say."""
