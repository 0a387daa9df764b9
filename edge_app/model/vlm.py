"""A vision-language model: encode a frame once, then caption it and answer questions about it.

A plain object without processes, MQTT or cameras: the worker, the command line, the tests and the export's parity
check call it alike.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from edge_app.errors import BadRequestError
from edge_app.model.beam import beam_search
from edge_app.model.bundle import Bundle
from edge_app.model.compiled_cache import open_cache
from edge_app.model.contract import check_graphs
from edge_app.model.decoded import Decoded
from edge_app.model.decoder import Decoder
from edge_app.model.device import Compiler, Graph, gpus_of, is_gpu
from edge_app.model.encoder import Encoder, Encoding
from edge_app.model.greedy import greedy
from edge_app.model.kv_cache import MASKED, KvCache, memory_names
from edge_app.model.manifest import ROLES_OF_TASK, Generation, Role
from edge_app.model.placement import PICTURE_ROLES, TEXT_ROLES, Placement
from edge_app.model.ranking import rank
from edge_app.model.region import Region, image_mask
from edge_app.model.result import Text, yes_no
from edge_app.model.shapes import Shapes, Step, shapes_for
from edge_app.model.text import TextCodec

MAX_CHOICES = 128  # BLIP re-ranks its 128 best answers in full


class VisionLanguageModel:
    """The graphs of one bundle on one device, or its two sides on two."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "CPU",
        text_device: str | None = None,
        threads: int = 0,
        cache_dir: Path | None = None,
        compilers: dict[str, Compiler] | None = None,
        gpu_f32: Collection[Role] | None = None,
        shapes: Shapes | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Compile all roles the bundle's tasks need.

        Args:
            bundle: a verified bundle.
            device: OpenVINO device, of the picture side if there is a `text_device`.
            text_device: device of the text side; None for the same one.
            threads: CPU threads; 0 lets OpenVINO decide.
            cache_dir: folder for compiled graphs, or None.
            compilers: device -> compiler, of models that shall share compiled graphs with this one; those that are
                missing are added.
            gpu_f32: graphs that are computed in FP32 where they are on a GPU; None takes those that the bundle names.
            shapes: lengths that requests are rounded up to; None takes those that suit the device of the text side.
            tell: is told each graph before it is compiled, as part of a sentence.

        Raises:
            BundleError: the IR does not fit the manifest.
            DeviceError: a device cannot compile the model.
        """
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.codec = TextCodec(bundle)
        shared = {} if compilers is None else compilers
        # Its own devices alone: a compiler holds all that it compiled, also for a device that was then left.
        roles = dict.fromkeys(role for task in self.manifest.tasks for role in ROLES_OF_TASK[task])
        self.placement = _placed(
            device, text_device or device, roles, self.manifest.f32_on_gpu if gpu_f32 is None else gpu_f32
        )
        # Keys and values cross from graph to graph in the text side's own precision.
        halves = is_gpu(self.placement.text) and self.placement.f32.isdisjoint(TEXT_ROLES)
        self.cache = open_cache(cache_dir, bundle)
        folder = self.cache.folder if self.cache else None
        self.compilers = {
            name: shared.setdefault(name, Compiler(name, threads=threads, cache_dir=folder))
            for name in (self.placement.picture, self.placement.text)
        }
        self.graphs: dict[Role, Graph] = {}
        for role in roles:
            compiler = self.compilers[self.placement.device_of(role)]
            tell(f"compiling the {role} graph of {bundle.label} for {compiler.device}")
            self.graphs[role] = compiler.compile(bundle, role, gpu_f32=role in self.placement.f32, halves=halves)
            if self.cache:  # a process that is killed while it compiles keeps what it has
                self.cache.list_written()
        check_graphs(self.graphs, self.manifest)
        of_picture = {role: graph for role, graph in self.graphs.items() if role in PICTURE_ROLES}
        self.encoder = Encoder(of_picture, self.manifest.image)
        self.shapes = shapes_for(self.placement.text, self.manifest.text) if shapes is None else shapes
        self._decoder = Decoder(self.graphs["decoder"], self.manifest.text, self.shapes)
        self._everywhere = np.zeros((1, 1, 1, self.manifest.image.positions), np.float32)

    @property
    def device(self) -> str:
        """The device in words: `CPU`, or `GPU+CPU` with the picture side on the GPU and the text side on the CPU."""
        return str(self.placement)

    @property
    def threads(self) -> int | None:
        """CPU threads, the most that a graph uses; None on a device that does not say, such as a GPU."""
        return max((graph.threads for graph in self.graphs.values() if graph.threads is not None), default=None)

    def encode(self, image: NDArray[np.uint8]) -> Encoding:
        """Encode a frame [H, W, 3] BGR; the previous Encoding of this object becomes invalid.

        Raises:
            BadRequestError: not an image.
            DeviceError: the device failed.
        """
        return self.encoder.encode(image)

    def encode_pixels(self, pixels: NDArray[np.float32]) -> Encoding:
        """Encode a ready `pixels` tensor [1, 3, H, W]."""
        return self.encoder.encode_pixels(pixels)

    def caption(
        self,
        encoding: Encoding,
        *,
        prompt: str | None = None,
        region: Region | None = None,
        options: Generation | None = None,
        draft: Sequence[int] = (),
    ) -> Text:
        """Describe an encoded frame.

        Args:
            encoding: the newest of this object.
            prompt: words the caption begins with; None takes the bundle's default.
            region: describe only this part of the frame (leaks a little: image states are mixed globally).
            options: decoding options; None takes the bundle's default.
            draft: `token_ids` of another caption, such as that of the frame before: what it has in common with this
                one is decoded in a single pass. The text is the same without it. Beams take none.

        Raises:
            BadRequestError: the prompt is too long.
            BundleError: the bundle has no caption task.
            DeviceError: the device failed.
        """
        self.bundle.require("caption")
        options = options or self.manifest.generation["caption"]
        prompt_ids = self.codec.prompt_ids(options.prompt if prompt is None else prompt)
        started = time.perf_counter()
        memory = encoding.memory("caption_memory")
        drafted = tuple(draft[len(prompt_ids) :]) if list(draft[: len(prompt_ids)]) == prompt_ids else ()
        (decoded,) = self._decode(memory, self._image_mask(region), [prompt_ids], options, draft=drafted)
        words = decoded.token_ids[len(prompt_ids) :]
        timing = encoding.timing(question_ms=0.0, spent_ms=(time.perf_counter() - started) * 1000)
        return Text(self.codec.decode(words), decoded.token_ids, decoded.confidence, None, None, len(words), timing)

    def answer(
        self,
        encoding: Encoding,
        question: str,
        *,
        choices: Sequence[str] | None = None,
        region: Region | None = None,
        options: Generation | None = None,
    ) -> Text:
        """Answer a question about an encoded frame, freely or by the best of `choices`.

        Raises:
            BadRequestError: empty or too long a question, a region without area, unusable choices.
            BundleError: the bundle has no vqa task.
            DeviceError: the device failed.
        """
        if choices is None:
            return self.answers(encoding, [question], region=region, options=options)[0]
        self.bundle.require("vqa")
        question_ids = self.codec.question_ids(question)
        choice_ids = self._choice_ids(choices)
        started = time.perf_counter()
        memory, mask = self._ask(encoding, [question_ids], region)
        asked_ms = (time.perf_counter() - started) * 1000
        best, decoded = self._rank(memory, mask, choice_ids)
        timing = encoding.timing(question_ms=asked_ms, spent_ms=(time.perf_counter() - started) * 1000)
        return self._answer(decoded, choices[best], timing)

    def answers(
        self,
        encoding: Encoding,
        questions: Sequence[str],
        *,
        region: Region | None = None,
        options: Generation | None = None,
    ) -> list[Text]:
        """Answer several questions about an encoded frame as one batch: each as if it were asked alone.

        `timing_ms` of every answer is that of the whole batch. With beams they are answered one after the other.

        Raises:
            BadRequestError: no question, an empty or too long one, a region without area.
            BundleError: the bundle has no vqa task.
            DeviceError: the device failed.
        """
        self.bundle.require("vqa")
        options = options or self.manifest.generation["vqa"]
        if not questions:
            raise BadRequestError("No question was given; give at least one.")
        question_ids = [self.codec.question_ids(question) for question in questions]
        started = time.perf_counter()
        asked_ms = 0.0
        texts: list[Decoded] = []
        pieces = self.shapes.batch_pieces(len(question_ids))
        alone = [slice(row, row + 1) for row in range(len(question_ids))]
        for piece in pieces if options.beams == 1 else alone:
            batch = question_ids[piece]
            asked = time.perf_counter()
            memory, mask = self._ask(encoding, batch, region)
            asked_ms += (time.perf_counter() - asked) * 1000
            texts += self._decode(memory, mask, [[self.manifest.tokens.start]] * len(batch), options)
        timing = encoding.timing(question_ms=asked_ms, spent_ms=(time.perf_counter() - started) * 1000)
        return [self._answer(decoded, self.codec.decode(decoded.token_ids[1:]), timing) for decoded in texts]

    def _answer(self, decoded: Decoded, text: str, timing_ms: dict[str, float]) -> Text:
        p_yes, mass = yes_no(decoded.first_logits, self.manifest.tokens)
        new_tokens = len(decoded.token_ids) - 1
        return Text(text, decoded.token_ids, decoded.confidence, p_yes, mass, new_tokens, timing_ms)

    def logits(
        self, task: str, encoding: Encoding, question: str | None, token_ids: Sequence[int], *, rows: int = 1
    ) -> NDArray[np.float32]:
        """Return the logits [T, V] after each of the T `token_ids`, in one pass: those of the last of `rows` rows."""
        if task == "caption":
            memory, mask = encoding.memory("caption_memory"), self._everywhere
        else:
            memory, mask = self._ask(encoding, [self.codec.question_ids(question or "")] * rows, None)
        self._decoder.begin(self._cache(memory, mask, batch=rows, capacity=len(token_ids)))
        logits: NDArray[np.float32] = self._decoder.forward(np.array([token_ids] * rows, np.int64))[-1].copy()
        return logits

    def rehearse(self, encoding: Encoding, step: Step) -> None:
        """Run the text side once in the shapes of `step`, with tokens that mean nothing.

        Raises:
            DeviceError: the device failed.
        """
        ids = [self.manifest.tokens.start]
        if step.question:
            memory, mask = self._ask(encoding, [ids * step.question] * step.questions, None)
        else:
            memory, mask = encoding.memory("caption_memory"), self._everywhere
        self._decoder.begin(self._cache(memory, mask, batch=step.batch, capacity=step.capacity))
        self._decoder.forward(np.array([ids * step.tokens] * step.batch, np.int64))

    def _ask(
        self, encoding: Encoding, questions: Sequence[Sequence[int]], region: Region | None
    ) -> tuple[dict[str, ov.Tensor], NDArray[np.float32]]:
        """Questions [B][T] -> the decoder's memory [B, heads, T, D] a layer, and its mask [B, 1, 1, T].

        Shorter questions are padded and masked, so that a batch answers each as if it were alone. A batch is padded
        with its first question.
        """
        batch = self.shapes.batch(len(questions))
        width = self.shapes.question_width(max(map(len, questions)), batch)
        tokens = np.full((batch, width), self.manifest.tokens.pad, np.int64)
        mask = np.full((batch, 1, 1, width), MASKED, np.float32)
        for row in range(batch):
            ids = questions[row if row < len(questions) else 0]
            tokens[row, : len(ids)] = ids
            mask[row, ..., : len(ids)] = 0
        image = encoding.memory("question_memory")
        graph = self.graphs["question_encoder"]
        graph.run({"tokens": tokens, "token_mask": mask, "image_mask": self._image_mask(region), **image})
        return {name: graph.tensor(name) for name in graph.outputs}, mask

    def _decode(
        self,
        memory: dict[str, ov.Tensor],
        mask: NDArray[np.float32],
        prompts: Sequence[Sequence[int]],
        options: Generation,
        *,
        draft: Sequence[int] = (),
    ) -> list[Decoded]:
        """One text a prompt [B][T]; beams and drafts are for B = 1."""
        capacity = len(prompts[0]) + options.max_new_tokens
        if capacity > self._decoder.max_positions:
            raise BadRequestError(
                f"{capacity} tokens are asked for, this model has {self._decoder.max_positions} positions; "
                "ask for a shorter text."
            )
        rows = np.array(prompts, np.int64)
        self._decoder.begin(self._cache(memory, mask, batch=max(options.beams, len(rows)), capacity=capacity))
        tokens = self.manifest.tokens
        if options.beams > 1:
            return [beam_search(self._decoder, rows[0], options, end=tokens.end)]
        return greedy(self._decoder, rows, options, end=tokens.end, pad=tokens.pad, draft=draft)

    def _rank(
        self, memory: dict[str, ov.Tensor], mask: NDArray[np.float32], choices: Sequence[Sequence[int]]
    ) -> tuple[int, Decoded]:
        """Index of the best choice, and it as if decoded; its only probability is its share among the choices."""
        tokens = self.manifest.tokens
        parts: list[NDArray[np.float64]] = []
        for piece in self.shapes.batch_pieces(len(choices)):
            among = choices[piece]
            self._decoder.begin(self._cache(memory, mask, batch=len(among), capacity=max(map(len, among))))
            part, first_logits = rank(self._decoder, tokens.start, among, pad=tokens.pad)
            parts.append(part)
        scores = np.concatenate(parts)
        shares = np.exp(scores - scores.max())
        best = int(scores.argmax())
        share = float(shares[best] / shares.sum())
        return best, Decoded((tokens.start, *choices[best]), (share,), first_logits)

    def _cache(self, memory: dict[str, Any], mask: NDArray[np.float32], *, batch: int, capacity: int) -> KvCache:
        text = self.manifest.text
        return KvCache(
            layers=text.layers,
            heads=text.heads,
            head_size=text.head_size,
            batch=self.shapes.batch(batch),
            capacity=capacity,
            memory={name: memory[name] for name in memory_names(text.layers)},
            memory_mask=mask,
            dtype=self.graphs["decoder"].types["past.0.key"],
        )

    def _choice_ids(self, choices: Sequence[str] | None) -> list[list[int]]:
        if choices is None:
            return []
        if not 1 <= len(choices) <= MAX_CHOICES:
            raise BadRequestError(f"A question takes 1 to {MAX_CHOICES} choices, not {len(choices)}.")
        return [self.codec.answer_ids(choice) for choice in choices]

    def _image_mask(self, region: Region | None) -> NDArray[np.float32]:
        return self._everywhere if region is None else image_mask(region, self.manifest.image)


def _placed(picture: str, text: str, roles: Iterable[Role], gpu_f32: Collection[Role]) -> Placement:
    """The devices of a model, and those of its graphs that are on a GPU in FP32."""
    placement = Placement(picture, text)
    f32 = frozenset(role for role in roles if role in gpu_f32 and gpus_of(placement.device_of(role)))
    return dataclasses.replace(placement, f32=f32)
