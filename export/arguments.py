"""Types of command-line arguments: what is out of range is refused with its limits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Whole numbers from `least` to `most`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least or (most is not None and value > most):
            limits = f"at least {least}" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{value} is out of range; give {limits}")
        return value

    return number


def share(text: str) -> float:
    """Numbers from 0 to 1."""
    value = _float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value:g} is out of range; give 0 to 1")
    return value


def positive(most: float = math.inf) -> Callable[[str], float]:
    """Finite numbers above 0, up to `most`."""

    def number(text: str) -> float:
        value = _float(text)
        if not 0 < value <= most or math.isinf(value):
            limits = "a finite number above 0" if math.isinf(most) else f"more than 0, up to {most:g}"
            raise argparse.ArgumentTypeError(f"{value:g} is out of range; give {limits}")
        return value

    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
