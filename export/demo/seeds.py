"""Which seeds draw which scenes of the demo world, so that no model is judged on scenes that it was made with.

Training that goes on draws from its seed and the number of steps done, which is no seed of another purpose either.
"""

from __future__ import annotations

TRAINING_SEEDS = range(10_000)
CALIBRATION_SEED = 10_077
QUALITY_SEED = 10_078
COMPARISON_SEED = 10_079  # of the scenes that `export compare` draws
FREE_SEEDS = range(11_000, 20_000)  # used for nothing here: for folders of scenes that a person asks for
FIRST_EVALUATION_SEED = 20_000  # and all after it
