"""What the nano voice is taught to say: the sentences of a voice agent, and random words.

Templates give the rhythm of real turns (answers, offers, corrections, times, prices, spelled codes,
one-word replies); random words give every sound in every neighbourhood. All of it is words only, so
what is written is what is spoken.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from common.errors import ParleyError
from training.text.conversation import Conversation, held_out

WORD_LIST = Path("/usr/share/dict/words")

_SLOTS: dict[str, str] = {
    "name": "John|Mary|Peter|Susan|Robert|Linda|Michael|Karen|David|Lisa|James|Nancy|Thomas|Sarah|"
    "Daniel|Emma|Kevin|Laura|Brian|Julia|Alice|George|Helen|Rachel|Frank|Diana|Henry|Oliver|"
    "Grace|Martin|Sophie|Victor|Hannah|Parley|Mister Brown|Missus Clark|Doctor Evans|Miss Taylor",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|today|tomorrow|next week",
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "digit": "zero|one|two|three|four|five|six|seven|eight|nine|oh",
    "teen": "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen",
    "tens": "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety",
    "hour": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "number": "{digit}|{teen}|{tens}|{tens} {digit}|{digit} hundred|{digit} hundred and {tens}|"
    "{digit} thousand|{digit} thousand {digit} hundred|a hundred and {teen}|two million",
    "ordinal": "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|fifteenth|"
    "twentieth|twenty first|twenty second|thirtieth",
    "time": "{hour} o'clock|{hour} thirty|{hour} fifteen|{hour} forty five|{hour} {teen}|half past "
    "{hour}|a quarter to {hour}|{hour} in the morning|{hour} in the afternoon|{hour} p m|{hour} a m|noon",
    "price": "{number} dollars|{number} dollars and {number} cents|{number} euros|{tens} cents|"
    "{digit} ninety nine|{number} pounds",
    "city": "London|Paris|Boston|Chicago|Berlin|Madrid|Rome|Tokyo|Dallas|Denver|Seattle|Houston|"
    "Vienna|Dublin|Sydney|Toronto|Austin|Atlanta|Phoenix|Lisbon|New York|San Francisco",
    "adjective": "small|large|green|yellow|quiet|bright|dark|heavy|light|modern|cheap|expensive|simple|"
    "difficult|friendly|gentle|wooden|broken|famous|golden|narrow|empty|perfect|public|red|blue|"
    "warm|cold|short|long|young|old|new|clean|fresh|smooth|soft|wild|brave|clever|sweet|thick|thin",
    "noun": "house|garden|window|table|doctor|teacher|river|mountain|village|market|kitchen|engine|"
    "computer|letter|picture|bridge|station|hospital|library|camera|bottle|blanket|animal|horse|"
    "ticket|package|invoice|account|password|message|number|address|meeting|office|manager|"
    "customer|product|service|order|payment|battery|keyboard|screen|printer|network|machine|"
    "breakfast|dinner|coffee|weather|question|answer|reason|problem|idea|voice|language|country|"
    "school|street|truck|phone|room|menu|card|car|bag|shirt|lamp|clock|book|story|song|movie",
    "plural": "windows|tables|teachers|letters|pictures|cameras|bottles|tickets|invoices|messages|"
    "meetings|customers|orders|batteries|apples|oranges|tomatoes|shoes|clocks|books|stories|games|"
    "movies|questions|answers|problems|ideas|voices|languages|schools|streets|rooms|places|people",
    "verb": "find|buy|sell|repair|open|close|watch|carry|order|cancel|check|clean|count|describe|"
    "deliver|design|enjoy|finish|forget|change|improve|invite|move|notice|offer|prepare|protect|"
    "pull|push|reach|receive|remember|replace|return|save|choose|share|show|study|confirm|book|pay",
    "past": "found|bought|sold|repaired|opened|closed|watched|carried|ordered|cancelled|checked|"
    "cleaned|delivered|finished|forgot|changed|moved|noticed|offered|received|replaced|returned|"
    "saved|chose|shared|showed|confirmed|booked|paid|sent|lost|left|made|took|said|heard|saw",
    "preposition": "near|behind|above|under|beside|inside|across|around|beyond|with|without|from|for",
    "adverb": "quickly|slowly|quietly|suddenly|carefully|easily|nearly|always|never|usually|often|"
    "recently|finally|probably|certainly|happily|yesterday|together|again|outside|right now|soon",
    "thing": "the {noun}|your {noun}|my {noun}|a {adjective} {noun}|the {adjective} {noun}|this {noun}|"
    "that {noun}|our {plural}|the {plural}|two {plural}|some {plural}|every {noun}|another {noun}|"
    "{name}|it|them|their {noun}|his {noun}|her {adjective} {noun}",
    "booking": "appointment|meeting|order|flight|delivery|payment|ticket|reservation|table|train|room",
    "who": "I|you|we|they|he|she",
    "modal": "can|could|should|will|would|must|might",
    "reply": "Yes|No|Okay|Sure|Of course|Certainly|Right|Great|Perfect|All right|Mm-hm|Uh-huh|Hmm|"
    "I see|Got it|Thank you|Thanks|Sorry|Well|Oh|Exactly|Absolutely|No problem|You're welcome|"
    "Good question|Let me see|One moment|Just a moment|I understand|That's right|Not yet|Maybe",
    "open": "Hello|Hi|Good morning|Good afternoon|Good evening|Welcome|Thank you for calling",
    "feature": "the opening hours|the price|a refund|your password|the delivery|a new card|the menu|"
    "the wifi|a taxi|the address|your bill|an upgrade|the invoice|parking|breakfast",
}

_TURNS: tuple[str, ...] = (
    "{open}, this is {name}, how can I help you?",
    "{open}, {name}. What can I do for you today?",
    "{reply}.",
    "{reply}.",
    "{reply}!",
    "{reply}?",
    "{reply}, {name}.",
    "{reply}, I can help you with {feature}.",
    "{reply}, let me look for {thing}.",
    "Your {booking} is confirmed for {day}, {month} {ordinal}, at {time}.",
    "Your {booking} was moved to {day} at {time}.",
    "Would you like {time} or {time}?",
    "Shall I book {thing} for {day} at {time}?",
    "Did you say {time}, or {time}?",
    "I'm sorry, I didn't catch that. Could you say it again, please?",
    "I'm sorry, {thing} is not available on {day}.",
    "Sorry, not {day}, I meant {day}.",
    "No, I said {number}, not {number}.",
    "The total is {price}.",
    "That will be {price}, is that all right?",
    "It costs {price} for {number} {plural}.",
    "The temperature in {city} is {number} degrees.",
    "It is {time} in {city}.",
    "The code is {digit}, {digit}, {digit}, {digit}.",
    "Your number is {digit} {digit} {digit}, {digit} {digit} {digit} {digit}.",
    "You can {verb} {thing} {preposition} {thing}.",
    "{who} {past} {thing} {preposition} {thing}.",
    "{who} {past} {thing}, and {who} {past} {thing} {adverb}.",
    "{thing} {past} {thing} {adverb}.",
    "{who} {modal} {verb} {thing} before {day}.",
    "Could you {verb} {thing}, please?",
    "Do you want to {verb} {thing} {adverb}?",
    "Is {thing} {adjective} or {adjective}?",
    "Are you still there?",
    "Can you hear me?",
    "What is your {noun}?",
    "What did you {verb} on {day}?",
    "When does {thing} {verb} {thing}?",
    "Where did {who} {verb} {thing}?",
    "How many {plural} do you need?",
    "How would you like to {verb} {thing}?",
    "Why {modal} {who} {verb} {thing}?",
    "If {thing} is {adjective}, {who} {modal} {verb} {thing}, or {verb} {thing}.",
    "There are {number} {plural} {preposition} {thing}.",
    "{name} lives in {city} and works with {thing}.",
    "First, {verb} {thing}. Then, {verb} {thing}, and wait for {number} minutes.",
    "We have {plural}, {plural}, and {plural}.",
    "We are open from {time} to {time}, {day} to {day}.",
    "The flight to {city} leaves on {month} {ordinal} at {time} and takes {number} hours.",
    "I have {thing} on {day}, {thing} on {day}, and nothing on {day}.",
    "Just to be sure, you want to {verb} {number} {plural}, is that right?",
    "Let me check that for you,",
    "On {day} at {time},",
    "For example, {thing},",
    "{reply},",
    "If you like {thing},",
    "Thank you, {name}, have a nice day!",
    "Goodbye, {name}, and thank you for calling.",
    "Oh no, I'm so sorry to hear that!",
    "That's wonderful, {name}!",
    "I am an automated assistant, and I speak and listen at the same time.",
    "The speed is {number} point {digit} percent.",
    "In nineteen {tens} {digit}, {who} {past} {thing}.",
    "My name is {name}, spelled {letter}, {letter}, {letter}, {letter}.",
)

_LETTERS = "bcdefghijklmnopqrstuvwxyz"  # without the article


def _fill(pattern: str, chance: random.Random) -> str:
    def replace(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "letter":
            return chance.choice(_LETTERS)
        return _fill(chance.choice(_SLOTS[slot].split("|")), chance)

    return re.sub(r"\{(\w+)\}", replace, pattern)


def turn(chance: random.Random) -> str:
    """One turn of an agent, capitalised and punctuated, a clause or up to three sentences."""
    text = _fill(chance.choice(_TURNS), chance)
    return text[0].upper() + text[1:]


def words_of_the_language(path: Path = WORD_LIST) -> list[str]:
    """Plain lower-case words of 2 to 11 letters from a system word list.

    Raises:
        ParleyError: There is none.
    """
    try:
        listed = path.read_text().split()
    except FileNotFoundError:
        raise ParleyError(
            f"There is no word list {path} to draw words from.", "Install Debian's wamerican."
        ) from None
    return sorted({word for word in listed if re.fullmatch(r"[a-z]{2,11}('s|'t|'re)?", word)})


def random_words(words: list[str], chance: random.Random) -> str:
    """Two to eleven unrelated words with a comma here and there and any final mark."""
    picked = [chance.choice(words) for _ in range(chance.randint(2, 11))]
    for i in range(2, len(picked) - 2):
        if chance.random() < 0.1:
            picked[i] += ","
    text = " ".join(picked) + chance.choices(".?!,", (75, 12, 6, 7))[0]
    return text[0].upper() + text[1:]


class Sentences:
    """Endless training sentences, the same for the same seed.

    Args:
        seed: Of all choices.
        random_share: Part of them that are `random_words`; of the rest, half are turns of the
            conversation grammar and half are from the templates here.
    """

    def __init__(self, seed: int, random_share: float):
        self._chance = random.Random(seed)
        self._conversation = Conversation(seed)
        self._words = words_of_the_language()
        self._random_share = random_share

    def next(self) -> str:
        """One sentence, or a few short ones that belong together; none that is kept for tests."""
        if self._chance.random() < self._random_share:
            return random_words(self._words, self._chance)
        while held_out(text := self._drawn()):
            pass
        return text

    def _drawn(self) -> str:
        if self._chance.random() < 0.5:
            return self._conversation.say("agent")
        return turn(self._chance)
