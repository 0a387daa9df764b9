"""N16 and N8: the pipeline of OpenVINO's public BLIP notebook, around the IRs of `notebook_ir`.

The notebook puts the compiled decoder in the place of `text_decoder.forward`, so that transformers' `generate` drives
it, and a helper class has `generate_caption` and `generate_answer`, which encode the picture each time. So it is here.

What it costs and where: the picture's keys and values at every token (see `notebook_ir`), the picture's encoding at
every call (see `public_way`), and the bookkeeping of `generate` around every token. What the notebook wastes besides is
spared here: the hints for latency are set, and two inference requests take turns, so that the past which one returns is
the other's input as it lies in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BlipConfig, BlipTextLMHeadModel
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from edge_app.model.device import Compiler
from tests.bench.contender import Ids
from tests.bench.notebook_ir import TEXT_DECODER, TEXT_ENCODER, VISION
from tests.bench.public_way import Asked, Pixels, PublicWay, forced


class NotebookWay(PublicWay):
    """A `Contender`: the IRs of a captioning and of a VQA checkpoint."""

    def __init__(self, checkpoint: Path, caption: Path, vqa: Path, *, threads: int = 0) -> None:
        """Compile for the CPU.

        Args:
            checkpoint: the VQA checkpoint: its tokenizer, image settings and text configuration.
            caption: IRs of the captioning checkpoint.
            vqa: IRs of the VQA checkpoint.
            threads: CPU threads; 0 leaves their number to OpenVINO.
        """
        super().__init__(checkpoint)
        config: Any = BlipConfig.from_pretrained(checkpoint).text_config
        self._start = config.bos_token_id
        self._special = {"eos_token_id": config.sep_token_id, "pad_token_id": config.pad_token_id}
        compiler = Compiler("CPU", threads=threads)  # the runtime's own, so the hints are the same
        self._caption_vision = compiler.compile_model(caption / f"{VISION}.xml").create_infer_request()
        self._vision = compiler.compile_model(vqa / f"{VISION}.xml").create_infer_request()
        self._encoder = compiler.compile_model(vqa / f"{TEXT_ENCODER}.xml").create_infer_request()
        self._caption_decoder = text_decoder(config, compiler.compile_model(caption / f"{TEXT_DECODER}.xml"))
        self._decoder = text_decoder(config, compiler.compile_model(vqa / f"{TEXT_DECODER}.xml"))

    def generate_caption(self, pixels: Pixels, tokens: int) -> Ids:
        states = _run(self._caption_vision, ov.Tensor(pixels, shared_memory=True))
        return self._generate(self._caption_decoder, states, tokens)

    def generate_answer(self, pixels: Pixels, question: Asked, tokens: int) -> Ids:
        _run(self._vision, ov.Tensor(pixels, shared_memory=True))
        return self.answer_kept(question, tokens)

    def answer_kept(self, question: Asked, tokens: int) -> Ids:
        picture = self._vision.get_output_tensor(0)  # [1, N, C]
        asked = _run(self._encoder, ov.Tensor(question, shared_memory=True), picture)
        return self._generate(self._decoder, asked, tokens)

    @torch.inference_mode()
    def _generate(self, decoder: Any, states: NDArray[np.float32], tokens: int) -> Ids:
        """`states` [1, S, C] are what the decoder attends to: the picture's, or the question's."""
        ids = decoder.generate(
            input_ids=torch.tensor([[self._start]]),
            encoder_hidden_states=torch.from_numpy(states),
            **self._special,
            **forced(tokens),
        )
        return tuple(ids[0, 1:].tolist())


def text_decoder(config: Any, compiled: ov.CompiledModel) -> Any:
    """A text decoder of transformers whose `forward` runs `compiled`.

    Its own weights stay on the "meta" device, where they take no memory: it lends `generate` and nothing else.
    """
    with torch.device("meta"):
        return _CompiledTextDecoder(config, compiled)


class _CompiledTextDecoder(BlipTextLMHeadModel):  # type: ignore[no-untyped-call]
    def __init__(self, config: Any, compiled: ov.CompiledModel) -> None:
        super().__init__(config)
        self._requests = cycle([compiled.create_infer_request(), compiled.create_infer_request()])
        self._nothing: list[ov.Tensor] = []
        for port in compiled.inputs[2:]:
            heads, size = port.partial_shape[1].get_length(), port.partial_shape[3].get_length()
            self._nothing.append(ov.Tensor(ov.Type.f32, ov.Shape([1, heads, 0, size])))

    def forward(
        self,
        input_ids: Tensor,
        cache: Any = None,
        encoder_hidden_states: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutputWithCrossAttentions:
        """One step: [1, T] tokens after the past; the past returned is the request's own output.

        transformers begins with an empty cache object of its own; from then on it hands back what it was given here.
        The name `cache` is that of transformers 5.24; before it was `past_key_values`.
        """
        assert encoder_hidden_states is not None  # both ways of calling have them
        past = cache if isinstance(cache, list) else self._nothing
        request = next(self._requests)
        inputs = (input_ids.numpy(), encoder_hidden_states.numpy())
        _bind(request, [*(ov.Tensor(array, shared_memory=True) for array in inputs), *past])
        request.infer()
        logits = torch.from_numpy(request.get_output_tensor(0).data)
        present: Any = [request.get_output_tensor(1 + index) for index in range(len(self._nothing))]
        return CausalLMOutputWithCrossAttentions(logits=logits, cache=present)


def _bind(request: ov.InferRequest, tensors: Sequence[ov.Tensor]) -> None:
    for index, tensor in enumerate(tensors):
        request.set_input_tensor(index, tensor)


def _run(request: ov.InferRequest, *tensors: ov.Tensor) -> NDArray[np.float32]:
    """The first output, a view that holds until the next run."""
    _bind(request, tensors)
    request.infer()
    output: NDArray[np.float32] = request.get_output_tensor(0).data
    return output
