"""Messages that will never arrive, told as events."""

from __future__ import annotations

from edge_app.publisher import Publisher
from edge_app.store.store import Store

GAP_S = 1.0  # drops that go on are told this often, and not each for itself


class Losses:
    """Tells of each loss once. Owned by the main thread."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store, self._publisher = store, publisher
        self._next_gap_s = 0.0
        self._told_spoilt = 0

    def tell(self, now_s: float, *, connected: bool) -> None:
        """Publish `gap` for what the outbox dropped, while somebody hears it, and `store_spoilt` for a spoilt file.

        `now_s` is the monotonic clock.
        """
        if connected and now_s >= self._next_gap_s:
            self._next_gap_s = now_s + GAP_S
            for kind, dropped in self._store.outbox.take_gaps():
                self._publisher.event("gap", {"kind": kind, "dropped": dropped})
        if (spoilt := self._store.spoilt) != self._told_spoilt:
            self._told_spoilt = spoilt
            self._publisher.event("store_spoilt", {"times": spoilt})
