"""No bytes of a stranger raise anything but the error of the room, and what is said in return is clean and short."""

from __future__ import annotations

import pytest

from tests.fuzz.search import search
from tests.fuzz.targets import TARGETS

EXAMPLES = 200


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    """The hostile corpus, and 200 examples that are the same each time; 10,000 new ones: `python -m tests.fuzz`."""
    assert len(search(name, EXAMPLES)) > EXAMPLES
