"""The graphs of a bundle must be what its manifest says: every input and output, name by name and size by size.

The manifest is covered by no hash of its own, and a count that does not fit would otherwise show as an error of
OpenVINO's in the middle of a caption.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_app.errors import BundleError
from edge_app.model.device import Graph, Shape
from edge_app.model.kv_cache import memory_names
from edge_app.model.manifest import Manifest, Role

FREE = -1  # a length that changes from call to call
ANY = -2  # a size the manifest does not tell: the width of the image states, the question encoder's heads

Shapes = dict[str, Shape]


def check_graphs(graphs: Mapping[Role, Graph], manifest: Manifest) -> None:
    """Raise BundleError unless every graph has the inputs and outputs that `manifest` implies (docs/bundle.md)."""
    for role, graph in graphs.items():
        inputs, outputs = _expected(role, manifest)
        _compare(role, "input", inputs, graph.inputs)
        _compare(role, "output", outputs, graph.outputs)


def _expected(role: Role, manifest: Manifest) -> tuple[Shapes, Shapes]:
    """(inputs, outputs) of a role."""
    image, text = manifest.image, manifest.text
    positions, heads, size = image.positions, text.heads, text.head_size
    states: Shapes = {"image_states": (1, positions, ANY)}
    memory = memory_names(text.layers)
    match role:
        case "vision":
            return {"pixels": (1, 3, image.height_px, image.width_px)}, states
        case "caption_memory":
            return states, dict.fromkeys(memory, (1, heads, positions, size))
        case "question_memory":
            return states, dict.fromkeys(_image_names(manifest), (1, ANY, positions, ANY))
        case "question_encoder":
            asked: Shapes = {
                "tokens": (FREE, FREE),
                "token_mask": (FREE, 1, 1, FREE),
                "image_mask": (1, 1, 1, positions),
            }
            asked |= dict.fromkeys(_image_names(manifest), (1, ANY, positions, ANY))
            return asked, dict.fromkeys(memory, (FREE, heads, FREE, size))
        case "decoder":
            free = (FREE, heads, FREE, size)
            step: Shapes = {
                "tokens": (FREE, FREE),
                "positions": (FREE,),
                "self_mask": (1, 1, FREE, FREE),
                "memory_mask": (FREE, 1, 1, FREE),
            }
            logits: Shapes = {"logits": (FREE, FREE, text.vocabulary)}
            for name in memory:
                step |= {name: free, name.replace("memory", "past", 1): free}
                logits |= {name.replace("memory", "present", 1): free}
            return step, logits


def _image_names(manifest: Manifest) -> list[str]:
    return [name.replace("memory", "image", 1) for name in memory_names(manifest.text.question_layers)]


def _compare(role: Role, kind: str, expected: Shapes, found: Shapes) -> None:
    if set(expected) != set(found):
        missing, surplus = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise BundleError(
            f"The {role} graph does not fit its manifest: it lacks the {kind}s {missing[:4]} and has {surplus[:4]} "
            "besides; export the bundle again."
        )
    for name, shape in expected.items():
        actual = found[name]
        fits = len(actual) == len(shape) and all(b in (ANY, a) for a, b in zip(actual, shape, strict=True))
        if not fits:
            raise BundleError(
                f"The {role} graph does not fit its manifest: its {kind} {name} is {_words(actual)}, "
                f"the manifest implies {_words(shape)}; export the bundle again."
            )


def _words(shape: Shape) -> str:
    return "[" + ", ".join({FREE: "free", ANY: "any"}.get(length, str(length)) for length in shape) + "]"
