"""What the display's process shows pictures on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height in pixels."""


class Screen(Protocol):
    """Something that shows pictures."""

    period_s: float
    """Least time between two pictures."""

    def prepare(self) -> Size | None:
        """Make ready for a picture. Returns the size it must have, None for any. OSError if none can be shown now."""

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show `image` [H, W, 3] BGR, of the size that `prepare` named. OSError if it cannot."""

    def close(self) -> None:
        """Give the screen back."""


class NoScreen:
    """No screen."""

    period_s = 1.0

    def prepare(self) -> Size | None:
        """Nothing to make ready."""
        return None

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""
