"""What tests of the model share."""

from __future__ import annotations

import pytest

from edge_app.model.device import Graph, Shape


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, Shape]]:
    """Return a set that grows by the role and the shape of the tokens of every run of a graph."""
    shapes: set[tuple[str, Shape]] = set()
    infer = Graph.infer

    def noted(graph: Graph) -> None:
        shapes.add((graph.role, graph.bound_shapes().get("tokens", ())))
        infer(graph)

    monkeypatch.setattr(Graph, "infer", noted)
    return shapes


def shapes_run(ran: set[tuple[str, Shape]], role: str) -> set[Shape]:
    """Return the shapes that the graph of one role was run in."""
    return {shape for each, shape in ran if each == role}
