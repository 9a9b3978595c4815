from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts.speakable import Spoken, speakable


def say(text: str, lexicon: dict[str, str] | None = None, language: str = "en") -> str:
    return " ".join(w.spoken for w in speakable(text, lexicon, language=language) if w.spoken)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # single quotes
        ("'Nothing', he said, ‘at all.’", "Nothing, he said, at all."),
        ("The dogs' bowls, 'em all, rock 'n' roll.", "The dogs' bowls, 'em all, rock 'n' roll."),
        # markdown
        ("This is **very** _important_!", "This is very important!"),
        ("# Title\n\n- one\n* two\n> three", "Title one two three"),
        ("Use `pip` and ~~never~~ ***this***.", "Use pip and never this."),
        ("See [our page](https://a.b/c) now", "See our page now"),
        ("![a cat](cat.png) sat", "a cat sat"),
        ("```python\nprint\n```", "print"),
        ("| a | b |\n|---|---|", "a b"),
        ("<b>bold</b> move<br/>", "bold move"),
        ("snake_case name", "snake case name"),
        # addresses
        ("Visit https://www.example.com/path?q=1.", "Visit example dot com."),
        ("docs.parley.dev helps", "docs dot parley dot dev helps"),
        ("Mail jo.b@example.org!", "Mail jo dot b at example dot org!"),
        # emoji and symbols
        ("Great 🎉 job 👍🏽!", "Great job"),
        ("I ❤️ it 👨‍👩‍👧", "I it"),
        ("salt & pepper", "salt and pepper"),
        ("rock&roll", "rock and roll"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("and/or", "and or"),
        # numbers
        ("I have 3 cats and 21 dogs", "I have three cats and twenty-one dogs"),
        ("1,234,567 people", "one million two hundred and thirty-four thousand five hundred and "
         "sixty-seven people"),
        ("3.14 or -5", "three point one four or minus five"),
        ("the 1st, 22nd and 103rd", "the first, twenty-second and one hundred and third"),
        ("50% of 3/4 and ½", "fifty percent of three quarters and one half"),
        ("code 0815, agent 007", "code zero eight one five, agent zero zero seven"),
        ("pages 5-10, 24/7", "pages five to ten, twenty-four seven"),
        ("v1.14.0 on an H200", "one point fourteen point zero on an H two hundred"),
        ("mp3 #1", "mp three number one"),
        # money
        ("$7.50, €1 and £0.99", "seven dollars and fifty cents, one euro and ninety-nine pence"),
        ("$5 million or $3.5bn", "five million dollars or three point five billion dollars"),
        ("€1,50 or $1.2M of 3k", "one euro and fifty cents or one point two million dollars of three "
         "thousand"),
        ("20€ (or 3k$)", "twenty euros (or three thousand dollars)"),
        ("$4.99/month", "four dollars and ninety-nine cents per month"),
        ("€15/mo or $0.10/min", "fifteen euros per month or ten cents per minute"),
        ("$5-$10/hr", "five dollars to ten dollars per hour"),
        ("3/day, 5-10/wk", "three per day, five to ten per week"),
        ("99¢ or 1 ¢", "ninety-nine cents or one cent"),
        ("$-45.20 or -$45.20", "minus forty-five dollars and twenty cents or minus forty-five "
         "dollars and twenty cents"),
        ("US$45, CA$1", "forty-five US dollars, one Canadian dollar"),
        ("US$45 million, -$5 million", "forty-five million US dollars, minus five million dollars"),
        ("\\$5", "five dollars"),
        ("1.000 Euro, €1.250, 1.250,50 € or 24,50 €.", "one thousand Euro, one thousand two hundred "
         "and fifty euros, one thousand two hundred and fifty fifty euros or twenty-four fifty euros."),
        ("EUR 7.50 or 6,05 EUR", "seven fifty euros or six oh five euros"),
        ("a £20 note, a 250g steak, an 8 oz one", "a twenty pound note, a two hundred and fifty gram "
         "steak, an eight ounce one"),
        ("€85 p.p., at 7.30 this evening or at 22.50.", "eighty-five euros p p, at seven thirty this "
         "evening or at twenty-two fifty."),
        ("one 500mg tablet, $0.50/1K tokens", "one five hundred milligram tablet, fifty cents per one "
         "thousand tokens"),
        ("Under-18s and over-60s", "Under eighteens and over sixties"),
        ("St Mary's, St. James St", "Saint Mary's, Saint James Street"),
        ("+49 30 1234567", "plus four nine three zero one two three four five six seven"),
        ("1,5 hours, 2,5 km", "one point five hours, two point five kilometres"),
        # signs
        ("<5, ≤5, <=5", "less than five, at most five, at most five"),
        (">10, ≥10, ±3%, ~$5", "more than ten, at least ten, plus or minus three percent, about five "
         "dollars"),
        # keys of a phone
        ("Press 1 or #.", "Press one or hash."),
        ("Press # to go, or *.", "Press hash to go, or star."),
        ("the `*` key, \\* or (**#**)", "the star key, star or (hash)"),
        ("2 * 3, # 5", "two times three, number five"),
        # dates, times, years
        ("5.30pm, 5.30 p.m. sharp", "five thirty P M, five thirty P M sharp"),
        ("at 5 am.", "at five A M."),
        ("9:15 AM. I am.", "nine fifteen A M. I am."),
        ("at 7:30 pm, 19:05 or 8:00", "at seven thirty P M, nineteen oh five or eight o'clock"),
        ("7pm to 9 a.m. today", "seven P M to nine A M today"),
        ("I am here", "I am here"),
        ("on 2026-11-21", "on November twenty-first, twenty twenty-six"),
        ("12/31/1999", "December thirty-first, nineteen ninety-nine"),
        ("31.12.1999", "December thirty-first, nineteen ninety-nine"),
        ("May 3, 2005", "May third, two thousand and five"),
        ("3 May 1984", "the third of May nineteen eighty-four"),
        ("in 1789 and the 1990s", "in seventeen eighty-nine and the nineteen nineties"),
        ("the '80s and 2000s", "the eighties and two thousands"),
        ("9:30am-5pm", "nine thirty A M to five P M"),
        ("1-800-555-0199", "one eight zero zero five five five zero one nine nine"),
        ("the U.S. Navy", "the U S Navy"),
        ("1500 people", "one thousand five hundred people"),
        ("12 Mar – 30 Sep 2026, Jan 1st", "the twelfth of March to the thirtieth of September twenty "
         "twenty-six, January first"),
        ("Wed., 3 Dec., 7 p.m.", "Wednesday, the third of December, seven P M"),
        ("noon-2pm, 10am–noon, 00:00 and 24:00", "noon to two P M, ten A M to noon, midnight and "
         "midnight"),
        ("c. 1500, ca. 1650, Lilies (1906), oil", "circa fifteen hundred, circa sixteen fifty, Lilies "
         "(nineteen oh-six), oil"),
        # phones
        ("call +33 1 23 45 67 89", "call plus three three one two three four five six seven eight "
         "nine"),
        ("555-0100 or 212-555-0100", "five five five zero one zero zero or two one two five five "
         "five zero one zero zero"),
        ("Call (555) 123-4567.", "Call (five five five) one two three four five six seven."),
        ("(555)123-4567", "(five five five one two three four five six seven"),
        ("the total (555) is", "the total (five hundred and fifty-five) is"),
        ("07700 900123", "zero seven seven zero zero nine zero zero one two three"),
        ("10, 20, 30, 40", "ten, twenty, thirty, forty"),
        # codes
        ("Your code is 482913.", "Your code is four eight two nine one three."),
        ("code: 482 913", "code: four eight two nine one three"),
        ("code 482-913", "code four eight two nine one three"),
        ("PIN 1984, ext. 4021", "PIN one nine eight four, extension four zero two one"),
        ("Dial 911", "Dial nine one one"),
        ("order #10234", "order number one zero two three four"),
        ("order 4512, ref. 7781", "order four five one two, reference seven seven eight one"),
        ("order 200 bricks", "order two hundred bricks"),
        ("I forgot the code. 300 people came", "I forgot the code. three hundred people came"),
        ("123-45-6789", "one two three four five six seven eight nine"),
        ("2024-00123", "two zero two four zero zero one two three"),
        ("12-3456 and 90210-1234", "one two three four five six and nine zero two one zero one two "
         "three four"),
        ("1-1000, 90-110, 21-19", "one to one thousand, ninety to one hundred and ten, twenty-one to "
         "nineteen"),
        ("2024-25, 1914–1918", "twenty twenty-four to twenty-five, nineteen fourteen to nineteen "
         "eighteen"),
        ("Call 300 people", "Call three hundred people"),
        ("Call 2500 customers or call 4455.", "Call two thousand five hundred customers or call four "
         "four five five."),
        ("The code is 300 lines long", "The code is three hundred lines long"),
        ("Your code 4921 expires", "Your code four nine two one expires"),
        ("card ending in 4242", "card ending in four two four two"),
        ("ticket 5567, order AB-1234-XY", "ticket five five six seven, order AB one two three four "
         "XY"),
        ("flight BA 2490, Flight U2 8412", "flight BA two four nine zero, Flight U two eight four "
         "one two"),
        ("Call 999 or 111.", "Call nine nine nine or one one one."),
        ("Washington, DC 20500; EU 12345 tonnes", "Washington, DC two zero five zero zero; EU twelve "
         "thousand three hundred and forty-five tonnes"),
        ("192.168.1.10", "one nine two dot one six eight dot one dot ten"),
        # with a hyphen
        ("a 10-min walk, 1980s-style", "a ten minute walk, nineteen eighties style"),
        ("a 5-star hotel, COVID-19", "a five star hotel, COVID nineteen"),
        ("the 2nd-floor, $5-a-day", "the second floor, five dollars a-day"),
        # opening hours
        ("Mon-Fri 9 am - 5 pm", "Monday to Friday nine A M to five P M"),
        ("Sat/Sun, Tue & Wed", "Saturday Sunday, Tuesday and Wednesday"),
        ("Sun. 10 a.m.–2 p.m.", "Sunday ten A M to two P M"),
        ("Sat. We sat in the Sun.", "Sat. We sat in the Sun."),
        ("8:00 AM – 5:00 PM", "eight A M to five P M"),
        ("July 4-6", "July fourth to sixth"),
        ("2 - 3 days, 5 - 3 = 2", "two to three days, five – three equals two"),
        ("Sat 10–2, Sat and Sun", "Saturday ten to two, Saturday and Sunday"),
        # sizes, ratios, inches
        ("20x30x15cm, 20×30×15 cm", "twenty by thirty by fifteen centimetres, twenty by thirty by "
         "fifteen centimetres"),
        ("4.5/5 stars, 85/100, 120/80 mmHg", "four point five out of five stars, eighty-five out of "
         "one hundred, one hundred and twenty over eighty millimetres of mercury"),
        ("3x daily, 4x4, 2:1", "three times daily, four by four, two to one"),
        ("he's 5'10\", on a 27\" screen", "he's five foot ten, on a twenty-seven inch screen"),
        ("say \"buy 5\" or \"6\"", "say \"buy five\" or \"six\""),
        ("1h 30m, 10–15 min, 500 mL", "one hour thirty minutes, ten to fifteen minutes, five hundred "
         "millilitres"),
        ("max. 5, min. 3", "maximum five, minimum three"),
        ("6 ft. tall, Ft. Myers", "six feet tall, Fort Myers"),
        (".5, $.99, 50p", "zero point five, ninety-nine cents, fifty pence"),
        ("$5–10 or 50 EUR", "five to ten dollars or fifty euros"),
        ("x² and E=mc²", "x squared and E equals mc squared"),
        ("World War II, Henry VIII", "World War two, Henry the eighth"),
        ("Your IV drip", "Your IV drip"),
        ("Dr. Wu lives on Elm Dr.", "Doctor Wu lives on Elm Drive"),
        ("Tom &amp; Jerry<br>again", "Tom and Jerry again"),
        # whole numbers with fractions
        ("1½ hours, 2¼ and 3⅛", "one and a half hours, two and a quarter and three and an eighth"),
        ("2 1/2 km or 2-1/2", "two and a half kilometres or two and a half"),
        ("1-1½ or ¾", "one to one and a half or three quarters"),
        ("1, 1/2", "one, one half"),
        # units and abbreviations
        ("10 min. by bus, 180°C/350°F", "ten minutes by bus, one hundred and eighty degrees Celsius, "
         "three hundred and fifty degrees Fahrenheit"),
        ("5 mg/day", "five milligrams per day"),
        ("-5 °C, 20 ℃, 70 °F.", "minus five degrees Celsius, twenty degrees Celsius, seventy degrees "
         "Fahrenheit."),
        ("a 60 W lamp", "a sixty watt lamp"),
        ("It draws 60 W. The lamp", "It draws sixty watts. The lamp"),
        ("123 W Main St", "one hundred and twenty-three West Main Street"),
        ("12 V Battery", "twelve V Battery"),
        ("45 Main St., Springfield", "forty-five Main Street, Springfield"),
        ("Down Main St. It is", "Down Main Street It is"),
        ("In St. Louis by Mount St. Helens", "In Saint Louis by Mount Saint Helens"),
        ("5 km, 1 kg, 60mph and 20°C", "five kilometres, one kilogram, sixty miles per hour and "
         "twenty degrees Celsius"),
        ("Dr. Smith, e.g. No. 5, etc.", "Doctor Smith, for example number five, et cetera"),
        ("No. I said no.", "No. I said no."),
        ("St. Peter lives on Main St. today", "Saint Peter lives on Main Street today"),
        # left alone
        ("\"Don't,\" she said – it's well-known.", "\"Don't,\" she said – it's well-known."),
        ("Čau, naïve café!", "Čau, naïve café!"),
    ],
)  # fmt: skip
def test_read_aloud(written, said):
    assert say(written) == said


def test_the_lexicon_has_the_first_word():
    lexicon = {"YAML": "yammel", "parley": "par lee", "C++": "see plus plus", "GPT4": "G P T four"}
    assert say("Parley reads YAML, (c++) and GPT4!", lexicon) == (
        "par lee reads yammel, (see plus plus) and G P T four!"
    )


def test_each_word_keeps_its_original():
    assert speakable("Pay **$5** now 🙂") == [
        Spoken("Pay", "Pay"),
        Spoken("**$5**", "five dollars"),
        Spoken("now", "now"),
        Spoken("🙂", ""),
    ]


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("**Bonjour**, il est 7:30 🎉", "fr", "Bonjour, il est 7:30"),
        ("これは*テスト*です。", "ja", "これはテストです。"),
        ("Das kostet 3,50 € – [hier](http://x.de)", "de-DE", "Das kostet 3,50 € hier"),
        ("مرحبا", "ar", "مرحبا"),
        ("मैं ठीक हूँ। आप?", "hi", "मैं ठीक हूँ। आप?"),
        ("'s avonds zei hij 'ja'.", "nl", "'s avonds zei hij ja."),
        ("Drücken Sie * oder #.", "de", "Drücken Sie oder"),
    ],
)
def test_other_languages_pass_through_safely(text, language, said):
    assert say(text, language=language) == said


MEAN = st.text(
    alphabet=st.one_of(
        st.sampled_from("0123456789 .,:;-/#*_`[]()<>|~!@$€£%&+='\"\n°²½Ⅷ٣🎉👍ab TMaykmpst"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(MEAN)
def test_originals_joined_are_the_words_of_the_text(text):
    assert [word.original for word in speakable(text)] == text.split()


@settings(max_examples=300, deadline=None)
@given(MEAN)
def test_nothing_unspeakable_is_left(text):
    said = say(text)
    assert not re.search(r"[\d*_`#<>|\[\]{}~\\^$€£%&@=+/]", said)
    assert not [c for c in said if c.isnumeric() and not c.isalpha()]
    assert not re.search("[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]", said)


@settings(max_examples=200, deadline=None)
@given(MEAN)
def test_what_is_speakable_stays(text):
    once = say(text)
    assert say(once) == once


@pytest.mark.parametrize("text", ["", " \n", "🎉🎉", "***", "```", "\x00\x07", "|||", "---"])
def test_nothing_to_say(text):
    assert say(text) == ""
