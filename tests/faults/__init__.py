"""The fault suite: each row breaks one thing on purpose, again and again, and judges what the node makes of it.

`python -m tests.faults --short` runs all rows as CI does, `--long` as often as a release deserves. A row is a
function in `tests/faults/rows/`; `fault.py` says what it must return, `harness.py` what it may use.
"""
