"""The names of every topic of a node, in one place."""

from __future__ import annotations

from dataclasses import dataclass

RULE_TOPICS = ("state", "attributes", "snapshot")
SETTING_KEYS = ("pause", "interval", "prompt")
MAX_RESPONSE_TOPIC_CHARS = 256


@dataclass(frozen=True)
class Topics:
    """`<base>/<node>/...`; both parts have been checked by the configuration."""

    base: str
    node: str
    birth: str | None = None
    """Where Home Assistant says that it has started; None: that changes nothing here."""

    @property
    def root(self) -> str:
        """The beginning of all topics of this node, without the last slash."""
        return f"{self.base}/{self.node}"

    @property
    def availability(self) -> str:
        """`online` or `offline`, retained; also the last will."""
        return f"{self.root}/availability"

    @property
    def info(self) -> str:
        """What runs here, retained."""
        return f"{self.root}/info"

    @property
    def health(self) -> str:
        """How it runs, now and then."""
        return f"{self.root}/health"

    @property
    def ask(self) -> str:
        """Questions in."""
        return f"{self.root}/ask"

    @property
    def answer(self) -> str:
        """Answers to questions that brought no response topic."""
        return f"{self.root}/answer"

    @property
    def event(self) -> str:
        """What happened: dropped messages, for one."""
        return f"{self.root}/event"

    def camera_status(self, camera: str) -> str:
        """`online` or `offline` of one camera, retained."""
        return f"{self.root}/camera/{camera}/status"

    def caption(self, camera: str) -> str:
        """The newest caption of one camera, retained."""
        return f"{self.root}/camera/{camera}/caption"

    def history(self, camera: str) -> str:
        """Every caption of one camera, where that is asked for."""
        return f"{self.root}/camera/{camera}/history"

    def rule(self, rule_id: str, what: str) -> str:
        """State, attributes or snapshot of a rule, retained."""
        return f"{self.root}/rule/{rule_id}/{what}"

    def setting(self, key: str) -> str:
        """Where a setting is changed."""
        return f"{self.root}/{key}/set"

    def setting_state(self, key: str) -> str:
        """The setting as it is, retained."""
        return f"{self.root}/{key}/state"

    def request(self, command: str) -> str:
        """Where a command is given."""
        return f"{self.root}/request/{command}"

    def response(self, command: str) -> str:
        """Responses to commands that brought no response topic."""
        return f"{self.root}/response/{command}"

    def subscriptions(self) -> tuple[str, ...]:
        """The topics this node listens to; never its own output."""
        commands = (f"{self.root}/request/+", f"{self.root}/request/rule/+")
        births = () if self.birth is None else (self.birth,)
        return (self.ask, *(self.setting(key) for key in SETTING_KEYS), *commands, *births)

    def route(self, topic: str) -> tuple[str, str]:
        """Tell what an incoming topic is: ("ask", ""), ("set", key), ("request", "info" or "rule/add") or ("", "")."""
        path = topic.removeprefix(f"{self.root}/") if topic.startswith(f"{self.root}/") else ""
        match path.split("/"):
            case ["ask"]:
                return "ask", ""
            case [key, "set"] if key in SETTING_KEYS:
                return "set", key
            case ["request", command]:
                return "request", command
            case ["request", "rule", verb]:
                return "request", f"rule/{verb}"
            case _:
                return "", ""

    def why_not_response(self, topic: str, prefixes: tuple[str, ...]) -> str | None:
        """Say why a requester may not have its answer on `topic`; None if it may.

        Topics under the base belong to nodes: an answer sent to another node's `ask` or `pause/set` would be a
        command in our name, so only our own `reply/` is open there, whatever the configuration allows.
        """
        if len(topic) > MAX_RESPONSE_TOPIC_CHARS:
            return f"is longer than {MAX_RESPONSE_TOPIC_CHARS} characters"
        if not topic.isprintable() or any(char in topic for char in "+#"):
            return "holds a wildcard or a control character"
        if topic.startswith(f"{self.root}/reply/"):
            return None
        if topic.startswith(("$", f"{self.base}/")) or topic == self.base:
            return f"is reserved (under {self.base}/ only {self.root}/reply/ is open)"
        if not topic.startswith(prefixes):
            return f"is not under an allowed prefix ({', '.join(prefixes)} or {self.root}/reply/)"
        return None
