"""Which seeds draw which scenes of the demo world, so that no model is judged on scenes that it was made with.

Training that goes on draws from its seed and the number of steps done, which is no seed of another purpose either.
"""

from __future__ import annotations

TRAINING_SEEDS = range(10_000)
CALIBRATION_SEED = 10_077
QUALITY_SEED = 10_078
FIRST_EVALUATION_SEED = 20_000
