"""What a node must not forget, as one: the records on the disk, the outbox and the questions in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edge_app.settings import StoreConfig
from edge_app.store.outbox import DURABLE_KINDS, SEND_ORDER, Outbox
from edge_app.store.questions import Questions
from edge_app.store.records import Records

FILE_NAME = "messages.db"


class Store:
    """The store in `folder`; None: in memory. What was put into it is on the disk after the next `commit`."""

    def __init__(self, folder: Path | None, config: StoreConfig) -> None:
        limit_bytes = config.limit_mib * 2**20
        self._records = Records(folder / FILE_NAME if folder else None, limit_bytes, DURABLE_KINDS)
        self.outbox = Outbox(
            self._records,
            limit_bytes=limit_bytes,
            memory_bytes=config.memory_mib * 2**20,
            max_age_s={
                "answer": config.answer_age_d * 86_400,
                "event": config.answer_age_d * 86_400,
                "caption": config.caption_age_h * 3_600,
            },
        )
        self.questions = Questions(self._records)

    def commit(self) -> None:
        """The end of a turn: what has changed goes to the disk, in one transaction; never raises."""
        self._records.commit()

    def close(self) -> None:
        """Let go of the file, with everything in it."""
        self._records.commit()
        self._records.close()

    @property
    def spoilt(self) -> int:
        """How often the file was spoilt, or gone, and begun anew, since the start."""
        return self._records.aside

    def condition(self) -> dict[str, Any]:
        """What `health` tells of the store."""
        return {
            "mode": "memory" if self._records.problem else "disk",
            "problem": self._records.problem,
            "spoilt": self._records.aside,
            "size_bytes": sum(self._records.sizes[kind] for kind in SEND_ORDER),
            "accounts": {kind: dataclasses.asdict(self.outbox.account(kind)) for kind in SEND_ORDER},
        }
