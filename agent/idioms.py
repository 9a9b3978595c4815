"""English sentences that are whole though their last word would leave any other one open."""

from __future__ import annotations

import re

_SUBJECT = r"(?:i|we|you|he|she|it|they|that|this|there)"
_HELPER = (
    r"(?:am|is|are|was|were|do|does|did|have|has|can|could|will|would|should)(?: not)?"
    r"|(?:don't|doesn't|didn't|isn't|aren't|wasn't|weren't|can't|couldn't|won't|wouldn't|haven't|hasn't)"
)
# "do you know what time is" wants more, "… what time it is" does not: what belongs to the question
# word is never taken for the subject.
_WHAT = (
    r"(?:what(?: (?:time|kind|day|sort))?+|how(?: (?:long|old|much|many|far|big|often|late|fast))?+"
    r"|which(?: \w+)?+|where|who|when|why)"
)
_TELLS = r"(?:know|tell \w+|show \w+|wonder|remember|see|ask|idea|sure|guess)"
_NUMBER = r"(?:the|your|my|their|his|her) (?:\w+ )?number"

_WHOLE = tuple(
    (belief, re.compile(rf"(?:{pattern})$"))
    for belief, pattern in (
        (0.8, r"\b(?:think|thought|guess|hope|suppose|believe|say|said|told you|or|why) so"),
        (0.8, r"\b(?:why|of course|maybe|probably|certainly|rather|or) not"),
        (0.75, r"^(?:(?:no|oh|not) )*really"),
        (0.75, r"\b(?:keep|get|(?:how|where)\b.*) going"),
        (0.75, r"\b(?:very|quite|pretty|as|are you|i'm|doing|works|sounds|went) well"),
        (0.8, r"^(?:what|which|who|how|where)\b.* (?:do|does|did|would|is|are) (?:\w+ )*like"),
        (0.75, r"^who(?: am|'m| are| is) \w+ (?:talking|speaking) to"),
        (0.8, r"^(?:who|what|where|how|when|which)\b.* (?:is|was|did|does|said) (?:\w+ )*that"),
        (0.7, r"^(?:where|who|how(?: \w+)?)(?:'s| is| are| am| was| were) (?:i|we|he|she|they)"),
        (0.8, rf"^(?:what|what's|which|can|could|may|tell|give|send)\b.* {_NUMBER}"),
        (0.75, rf"\b{_TELLS} {_WHAT}(?: \w+){{1,4}} (?:is|are|was|were|am|does|did)"),
        (0.75, r"\b(?:what|how|where|which \w+) to (?:do|say|go|be)"),
        (
            0.65,
            rf"^(?:yes|yeah|yep|no|nope|sure|i think|i know) (?!i was|we were){_SUBJECT} (?:{_HELPER})",
        ),
    )
)


def whole(sentence: str) -> float | None:
    """Belief that a sentence is whole, if it ends in one of these ways.

    Args:
        sentence: Its words in lower case, without what leads in to a question.
    """
    return next((belief for belief, ending in _WHOLE if ending.search(sentence)), None)
