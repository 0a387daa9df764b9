"""One search: the hostile corpus, what coverage has found, then what hypothesis makes up."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, seed, settings

from tests.fuzz.strategies import EXAMPLES, STRATEGIES, corpus
from tests.fuzz.targets import try_bytes


def search(name: str, examples: int, first_seed: int | None = None) -> list[float]:
    """Try known bytes and then `examples` new ones on a target; the milliseconds of each. The first fault is raised.

    Without a seed the search is the same each time.
    """
    times_ms: list[float] = []

    def check(data: bytes) -> None:
        times_ms.append(try_bytes(name, data))

    checked = given(STRATEGIES[name])(check)
    for known in (*EXAMPLES[name], *corpus(name)):
        checked = example(known)(checked)
    if first_seed is not None:
        checked = seed(first_seed)(checked)
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=first_seed is None,
        suppress_health_check=list(HealthCheck),
    )(checked)()
    return times_ms
