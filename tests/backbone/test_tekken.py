from __future__ import annotations

import base64
import json
from importlib.resources import files

import pytest

from backbone.tekken import PieceDecoder, Tekken
from common.errors import CheckpointError

# Text and ids as published with Mistral's models.
PUBLISHED = {
    "Paris is a beautiful city!": [42572, 1395, 1261, 15568, 5970, 1033],
    "Hello.": [22177, 1046],
    "El niño comió 42 manzanas; ¿verdad?": [
        *(4168, 56496, 1437, 1788, 1032, 1052, 1050, 1894),
        *(1122, 16008, 1059, 12615, 1465, 40886, 1063),
    ],
    "नमस्ते, आप कैसे हैं?": [2485, 3525, 22475, 1803, 1044, 23167, 83112, 10688, 1063],
    "مرحبا كيف حالك؟": [4341, 1708, 26986, 24675, 17086, 1559, 6944],
}


@pytest.fixture(scope="module")
def tekken() -> Tekken:
    return Tekken.load(str(files("mistral_common") / "data" / "tekken_240911.json"))


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_ids(tekken, text):
    assert tekken.encode(text) == PUBLISHED[text]
    assert tekken.decode(PUBLISHED[text]) == text


def test_any_text_survives_the_round_trip(tekken):
    text = "  tabs\tand\r\nlines 𝄞 日本語\0\ufeff e\u0301 " + "x" * 300
    assert tekken.decode(tekken.encode(text)) == text.replace("\0", "")


def test_a_character_split_over_tokens_appears_once_complete(tekken):
    decoder = PieceDecoder(tekken)
    tokens = [tekken.n_special + byte for byte in "é𝄞".encode()]
    seen = []
    for token in tokens:
        twin = decoder.copy()
        seen.append(decoder.push(token))
        assert twin.push(token) == seen[-1]
    assert seen == ["", "é", "", "", "", "𝄞"]
    assert decoder.push(2) == ""


def small_file(**changes) -> dict:
    vocab = [{"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode()} for i in range(256)]
    config = {"default_vocab_size": 260, "default_num_special_tokens": 4, "pattern": r"\s?\S+|\s+"}
    specials = [{"rank": 3, "token_str": "[STREAMING_PAD]", "is_control": True}]
    return {"config": config, "vocab": vocab, "special_tokens": specials} | changes


def test_a_small_file_has_its_own_specials():
    tekken = Tekken(small_file())
    assert tekken.special("[STREAMING_PAD]") == 3
    assert tekken.encode("Hi") == [4 + ord("H"), 4 + ord("i")]
    with pytest.raises(CheckpointError, match=r"no special token \[STREAMING_WORD\]"):
        tekken.special("[STREAMING_WORD]")


def test_damaged_files_are_one_clear_error(tmp_path):
    with pytest.raises(CheckpointError, match="promises 256"):
        Tekken(small_file(vocab=[]))
    with pytest.raises(CheckpointError, match="malformed"):
        Tekken({"config": {}})
    path = tmp_path / "tekken.json"
    with pytest.raises(CheckpointError, match="No such file"):
        Tekken.load(path)
    path.write_text(json.dumps(small_file())[:-20])
    with pytest.raises(CheckpointError, match="not JSON"):
        Tekken.load(path)
