"""Where the model is asked to look: what is asked wins over the camera's region."""

from __future__ import annotations

from edge_app.model_requests import caption_request, rules_request
from edge_app.rules.rule import RuleConfig
from edge_app.scheduler import Job

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def test_a_rule_without_a_region_looks_at_the_cameras() -> None:
    """Of two rules about one frame each has its own place; without a region of the camera, everywhere."""
    rules = [RuleConfig(id="a", question="is it open?"), RuleConfig(id="b", question="is it shut?", region=RIGHT)]
    jobs = [Job("door", rule=rule) for rule in rules]
    assert rules_request(jobs, LEFT, captioned=None, keep=False)["regions"] == [LEFT, RIGHT]
    assert rules_request(jobs, None, captioned=None, keep=False)["regions"] == [None, RIGHT]


def test_a_caption_looks_at_the_cameras_region() -> None:
    """There is nothing else to say where."""
    assert caption_request(Job("door"), LEFT, prompt=None, following=None, keep=False)["region"] == LEFT
