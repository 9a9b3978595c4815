"""Keys as people and files leave them in the environment."""

from common.keys import read_key


def test_a_key_is_read_without_the_end_of_its_line():
    assert read_key("KEY", {"KEY": "abc\n"}) == "abc"
    assert read_key("KEY", {}) == ""
