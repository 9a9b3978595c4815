from __future__ import annotations

import pytest

from backbone.tekken import Tekken
from tests.training.ears import tokenizer


@pytest.fixture(scope="module")
def tekken(tmp_path_factory: pytest.TempPathFactory) -> Tekken:
    return Tekken.load(tokenizer(tmp_path_factory.mktemp("tokens")))
