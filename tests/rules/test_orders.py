"""What `request/rule/...` refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from edge_app.errors import BadRequestError
from edge_app.rules.orders import rule_from

GOOD = {"id": "cup", "question": "is there a cup?"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, 'The id of the rule is missing; send an object such as {"id": "cup"}.'),
        ({"id": "a cup"}, "id is 'a cup' and must be the name of a rule"),
        ({**GOOD, "region": [0.5, 0, 0.5, 1]}, "region is [0.5, 0, 0.5, 1] and must be"),
        ({**GOOD, "threshold_on": "high"}, "threshold_on is 'high' and must be a number"),
        ({**GOOD, "consecutive": 0}, "consecutive is 0: Input should be greater than or equal to 1."),
        (
            {**GOOD, "threshold_on": 0.1},
            "threshold_on is 0.1, below threshold_off, which is 0.2 by default; raise threshold_on, or set",
        ),
        (
            {**GOOD, "threshold_on": 0.4, "threshold_off": 0.6},
            "threshold_on is 0.4, below threshold_off, which is 0.6; raise threshold_on, or set threshold_off lower.",
        ),
        ({**GOOD, "colour": "red"}, "The key 'colour' is unknown (known: camera, "),
    ],
)
def test_a_refused_rule_is_told_what_was_sent_and_what_to_send(values: dict[str, Any], told: str) -> None:
    """The value as it came; a default that nobody wrote is called one."""
    with pytest.raises(BadRequestError) as refused:
        rule_from(values, 256)
    assert str(refused.value).startswith(told)
