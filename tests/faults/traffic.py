"""A node under steady load, which most rows disturb: every caption is kept, and a question comes every so often."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.broker import Broker
from tests.faults.fault import Outcome
from tests.faults.harness import Harness, until_captioned
from tests.faults.judge import Balance, balance, quiet_accounts
from tests.faults.listener import Listener
from tests.faults.node import Model, Node, Settings
from tests.faults.questions import Questions

ASK_EVERY_S = 0.25
ANSWER_S = 60.0  # longer than any back-off: a question that is not answered by then is lost
WORKING_S = 60.0  # the longest wait for a node that is to work again


@dataclass(frozen=True)
class Verdict:
    """What the traffic looks like when all has settled.

    Attributes:
        balance: the node's accounts against what came.
        asked: questions that the broker took over.
        unanswered, answered_twice: questions of these without an answer, and with two different ones.
    """

    balance: Balance
    asked: int
    unanswered: int
    answered_twice: int

    @property
    def lost(self) -> int:
        """Messages and questions that are gone, or an error of the accounts, whichever way it goes."""
        return abs(self.balance.lost) + self.unanswered

    @property
    def duplicates(self) -> int:
        """Messages that came again."""
        return self.balance.duplicates + self.answered_twice

    def passed(self, duplicate_share: float) -> bool:
        """Nothing lost, no second answer, and at most that share of duplicates."""
        return not self.lost and not self.answered_twice and self.balance.duplicate_share <= duplicate_share

    def outcome(
        self,
        times: int,
        *,
        duplicate_share: float = 0.02,
        detected_s: Sequence[float] = (),
        recovered_s: Sequence[float] = (),
        also: bool = True,
        figure: str = "",
    ) -> Outcome:
        """The outcome of a row with this verdict; `also` is what it has to show besides, `figure` comes first."""
        return Outcome(
            times,
            self.lost,
            self.duplicates,
            max(detected_s, default=None),
            max(recovered_s, default=None),
            passed=self.passed(duplicate_share) and also,
            figure=f"{figure}; {self}" if figure else str(self),
        )

    def __str__(self) -> str:
        unanswered = f", {self.unanswered} unanswered" if self.unanswered else ""
        twice = f", {self.answered_twice} answered twice" if self.answered_twice else ""
        return f"{self.balance}; {self.asked} questions{unanswered}{twice}"


class Traffic:
    """A broker, a node that works, a listener and questions that go on until `judged`."""

    def __init__(
        self,
        harness: Harness,
        settings: Settings | None = None,
        *,
        broker: Broker | None = None,
        node_port: int | None = None,
        ask_every_s: float = ASK_EVERY_S,
        model: Model = "stand-in",
        environ: Mapping[str, str] | None = None,
        state: Path | None = None,
    ) -> None:
        """Start all of it; `node_port` is where the node finds the broker, if not at its own port."""
        self.broker = broker or harness.broker()
        self.listener: Listener = harness.listener(self.broker.port)
        tables = {name: dict(values) for name, values in (settings or {}).items()}
        tables["caption"] = {"interval_s": 0.2, "history": True, **tables.get("caption", {})}
        port = node_port or self.broker.port
        self.node: Node = harness.node(port, tables, model=model, environ=environ, state=state)
        self.node.start()
        until_captioned(self.listener)
        self.questions = Questions(self.listener)
        self.questions.begin(ask_every_s)

    def works_again_s(self, since_s: float) -> float:
        """Wait until a question that is asked now is answered; seconds from `since_s` (monotonic) until then."""
        name = self.questions.ask()
        deadline_s = time.monotonic() + WORKING_S
        while name not in self.questions.answers():
            assert time.monotonic() < deadline_s, f"waited {WORKING_S:g} s for the node to answer again"
            time.sleep(0.02)
        return time.monotonic() - since_s

    def judged(self) -> Verdict:
        """Stop asking, wait until everything has settled, and compare."""
        self.questions.end()
        self.questions.expect_answers(ANSWER_S)
        accounts = quiet_accounts(self.listener, ANSWER_S)
        questions = self.questions
        return Verdict(
            balance(accounts, self.listener),
            len(questions.asked),
            len(questions.unanswered()),
            len(questions.answered_twice()),
        )
