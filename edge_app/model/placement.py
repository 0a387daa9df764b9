"""Which device runs which side of a model: one for the picture, one for the text, often the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_app.model.device import candidates
from edge_app.model.manifest import Role

PICTURE_ROLES: tuple[Role, ...] = ("vision", "caption_memory", "question_memory")
TEXT_ROLES: tuple[Role, ...] = ("question_encoder", "decoder")


@dataclass(frozen=True)
class Placement:
    """The devices of one model.

    Attributes:
        picture: device of vision and of the image's keys and values, which run once a frame.
        text: device of question encoder and decoder, which run once a question and once a token.
        f32: the graphs that are computed in FP32 though they are on a GPU.
    """

    picture: str
    text: str
    f32: frozenset[Role] = field(default=frozenset(), kw_only=True)

    @property
    def is_split(self) -> bool:
        """Whether the sides can work at the same time."""
        return self.picture != self.text

    @property
    def devices(self) -> frozenset[str]:
        """Both of them, or the one."""
        return frozenset((self.picture, self.text))

    def device_of(self, role: Role) -> str:
        """The device of one graph."""
        return self.picture if role in PICTURE_ROLES else self.text

    def __str__(self) -> str:
        return f"{self.picture}+{self.text}" if self.is_split else self.picture


def placements(device: str, text_device: str | None, available: Sequence[str]) -> list[Placement]:
    """What to try, best first; everything on the CPU is always the last resort.

    Args:
        device: of the picture side, or of both: "AUTO", "GPU", "GPU.1", "CPU", ...
        text_device: of the text side, None for the same one.
        available: what OpenVINO found on this machine.
    """
    of_picture = candidates(device, available)
    if text_device is None:
        return [Placement(name, name) for name in of_picture]
    return [Placement(picture, text) for picture in of_picture for text in candidates(text_device, available)]
