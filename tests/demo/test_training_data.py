"""What the trainer is fed is what the runtime will see, and what it writes is what transformers reads."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from export.demo import checkpoint, data, lengths, resume
from export.demo.losses import Losses
from export.demo.targets import IGNORE, MENTIONS, SIDE, TASKS
from tests.demo.scenes import row_of, twins_of

pytestmark = pytest.mark.slow


def texts(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[str]:
    """Token rows as the words they stand for, special tokens left out."""
    return checkpoint.build_tokenizer().decode_batch([row.tolist() for row in rows])


def samples(number: int, seed: int) -> list[data.RawBatch]:
    rng = np.random.default_rng(seed)
    tokenizer = checkpoint.build_tokenizer()
    return [data.draw_sample(rng, tokenizer) for _ in range(number)]


def test_pixels_equal_the_image_processor_of_the_checkpoint(tmp_path: Path) -> None:
    """Training resizes and normalises as transformers does with the preprocessor_config.json that is written."""
    checkpoint.write_checkpoint(checkpoint.build_model(), tmp_path / "out")
    frame = draw(world.random_scene(np.random.default_rng(0), 3), 240)
    ours = data.normalise(data.resize_rgb(frame)[None])
    processor = BlipImageProcessorPil.from_pretrained(tmp_path / "out")
    theirs = processor(frame[:, :, ::-1].copy(), return_tensors="pt")["pixel_values"]
    # Measured: 4.8e-7, the order of two roundings.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_checkpoint_loads_with_the_weights_that_were_saved(tmp_path: Path) -> None:
    """An older checkpoint in the same place is replaced, and nothing else is left beside it."""
    out = tmp_path / "out"
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = checkpoint.build_model()
        resume.save(Losses(model), out, checkpoint.DEMO_WORDS, steps=seed)
    loaded = BlipForQuestionAnswering.from_pretrained(out)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("words", [checkpoint.DEMO_WORDS, ("is", "it", "red", "?", "yes", "no")])
def test_tokenizer_reads_every_word_and_marks_the_unknown(words: tuple[str, ...], tmp_path: Path) -> None:
    """`[CLS] words [SEP]`, lower-cased, whatever the words are; another word is [UNK]; decoding gives them back."""
    model = checkpoint.build_model(words)
    text_config: Any = model.config.text_config
    assert text_config.vocab_size == len(checkpoint.SPECIAL_TOKENS) + len(words)
    checkpoint.write_checkpoint(model, tmp_path / "out", words)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("Is it red?").input_ids if "it" in words else tokenizer("Is there red?").input_ids
    assert (ids[0], ids[-1]) == (checkpoint.CLS_ID, checkpoint.SEP_ID)
    assert tokenizer.decode(ids, skip_special_tokens=True) in ("is it red?", "is there red?")
    assert tokenizer.convert_ids_to_tokens(tokenizer("red zebra").input_ids) == ["[CLS]", "red", "[UNK]", "[SEP]"]
    assert tokenizer(" ".join(words)).input_ids[1:-1] == [checkpoint.word_ids(words)[word] for word in words]


def test_special_tokens_have_the_ids_that_the_model_is_told() -> None:
    """[PAD] is 0; the decoder starts with [DEC] and ends with [SEP]."""
    config: Any = checkpoint.build_model().config.text_config
    ids = checkpoint.word_ids()
    assert ids["[PAD]"] == config.pad_token_id == 0
    assert ids["[DEC]"] == config.bos_token_id
    assert ids["[SEP]"] == config.sep_token_id == config.eos_token_id


def test_token_row_is_padded_and_never_cut() -> None:
    """A text that does not fit is an error: a cut-off text would teach the model to stop in the middle."""
    tokenizer = checkpoint.build_tokenizer()
    row = data.token_row(tokenizer, "yes", 5, first=checkpoint.DEC_ID)
    assert row.tolist() == [
        checkpoint.DEC_ID,
        tokenizer.token_to_id("yes"),
        checkpoint.SEP_ID,
        checkpoint.PAD_ID,
        checkpoint.PAD_ID,
    ]
    with pytest.raises(ValueError, match="has 5 tokens; raise the row's length of 4"):
        data.token_row(tokenizer, "a blue square", 4)


def test_sample_has_the_shapes_that_the_trainer_takes() -> None:
    """Pixels as bytes, targets a patch, one caption, questions with answers, and two targets a word of theirs."""
    (sample,) = samples(1, seed=1)
    shapes = {name: rows.shape for name, rows in sample.items()}
    assert shapes == {
        "pixels": (checkpoint.IMAGE_PX, checkpoint.IMAGE_PX, 3),
        "patches": (SIDE * SIDE, len(TASKS)),
        "captions": (lengths.CAPTION_TOKENS,),
        "caption_inputs": (lengths.CAPTION_TOKENS,),
        "questions": (data.QUESTIONS_PER_SCENE, lengths.QUESTION_TOKENS),
        "answers": (data.QUESTIONS_PER_SCENE, lengths.ANSWER_TOKENS),
        "answer_inputs": (data.QUESTIONS_PER_SCENE, lengths.ANSWER_TOKENS),
        "mentions": (data.QUESTIONS_PER_SCENE, lengths.QUESTION_TOKENS, len(MENTIONS)),
    }
    assert sample["pixels"].dtype == np.uint8
    assert sample["captions"][0] == checkpoint.DEC_ID
    assert (sample["answers"][:, 0] == checkpoint.DEC_ID).all()
    assert (sample["questions"][:, 0] == checkpoint.CLS_ID).all()


def test_texts_and_patches_of_a_sample_are_of_one_scene() -> None:
    """What the caption names is what the patches show, in its order: nothing is mixed up on the way."""
    colours, shapes = ("none", *world.COLOURS), ("none", *world.SHAPES)
    names = list(TASKS)
    for sample in samples(60, seed=2):
        patches = sample["patches"]
        ranked = {
            int(row[names.index("rank")]): (colours[row[0]], shapes[row[1]]) for row in patches[patches[:, 0] > 0]
        }
        (caption,) = texts(sample["captions"][None])
        assert language.named_objects(caption) == [ranked[rank] for rank in sorted(ranked)]


def test_mentions_are_said_of_the_words_that_name_something() -> None:
    """A row of targets stands beside the row of tokens: only colours and shapes have any, padding never."""
    tokenizer = checkpoint.build_tokenizer()
    shown = row_of(("red", "star"), ("blue", "ring"))
    row = data.mention_row(tokenizer, shown, "is the red star left of the blue ring?")
    assert row.shape == (lengths.QUESTION_TOKENS, len(MENTIONS))
    # [CLS] is the red star left of the blue ring ? [SEP]: the star is object 0, the ring object 1, each there once.
    expected = np.full_like(row, IGNORE)
    expected[4], expected[9] = (0, 1), (1, 1)
    assert row.tolist() == expected.tolist()


def test_batches_repeat_with_the_seed() -> None:
    """One seed, one sequence: every field of the first two batches, and the two batches differ."""
    first, again = (list(itertools.islice(iter(data.RandomBatches(size=3, seed=7)), 2)) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(first[0]["pixels"], first[1]["pixels"])
    assert np.array_equal(first[0]["captions"], np.stack([sample["captions"] for sample in samples(3, seed=7)]))


def test_batch_puts_the_questions_of_a_picture_side_by_side() -> None:
    """[B, Q, T] -> [B, Q * T], row after row; pixels become BF16 channels; what a source lacks is None."""
    raw = next(iter(data.RandomBatches(size=2, seed=3)))
    batch = data.to_batch(raw)
    assert batch.questions.shape == (2, data.QUESTIONS_PER_SCENE * lengths.QUESTION_TOKENS)
    second = batch.questions[1, lengths.QUESTION_TOKENS : 2 * lengths.QUESTION_TOKENS]
    assert second.tolist() == raw["questions"][1, 1].tolist()
    assert batch.answers[0, : lengths.ANSWER_TOKENS].tolist() == raw["answers"][0, 0].tolist()
    assert batch.pixels.shape == (2, 3, checkpoint.IMAGE_PX, checkpoint.IMAGE_PX)
    assert batch.pixels.dtype == torch.bfloat16
    without = data.to_batch({name: raw[name] for name in ("pixels", "questions", "answers", "answer_inputs")})
    assert (without.patches, without.captions, without.caption_inputs, without.mentions) == (None,) * 4
    assert torch.equal(without.questions, batch.questions)


def test_worker_hands_over_the_batches_of_its_source() -> None:
    """Drawn in a process of its own, the batches are the same and in the same order."""
    source = data.RandomBatches(size=2, seed=4)
    here = [data.to_batch(raw) for raw in itertools.islice(iter(source), 2)]
    with closing(data.batches(source)) as drawn:
        there = list(itertools.islice(drawn, 2))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.questions, other.questions)


def test_samples_never_show_what_training_withholds() -> None:
    """No caption, question or answer says a withheld pair, and no caption says a withheld twin twice."""
    counted = {f"{colour} {language.plural(shape)}": (colour, shape) for colour, shape in world.PAIRS}
    for sample in samples(400, seed=11):
        rows = [sample["captions"], *sample["questions"], *sample["answers"]]
        lengths = {len(row) for row in rows}
        padded = np.stack([np.pad(row, (0, max(lengths) - len(row))) for row in rows])
        caption, *others = (text.replace("?", " ") for text in texts(padded))
        assert not set(twins_of(language.named_objects(caption))) & set(world.WITHHELD_TWINS)
        for text in (caption, *others):
            said = set(language.named_objects(text)) | {pair for phrase, pair in counted.items() if phrase in text}
            assert not said & set(world.WITHHELD_PAIRS), text


def test_some_questions_lack_their_mark() -> None:
    """About a fifth of them, as people write."""
    mark = checkpoint.word_ids()["?"]
    asked = np.concatenate([sample["questions"] for sample in samples(150, seed=5)])
    assert 1 - (asked == mark).any(axis=1).mean() == pytest.approx(data.WITHOUT_MARK_SHARE, abs=0.06)


def test_scenes_have_every_number_of_objects() -> None:
    """None to six, mostly three or more, and the shares are whole."""
    assert len(data.COUNT_SHARES) == world.MOST_OBJECTS + 1
    assert sum(data.COUNT_SHARES) == pytest.approx(1)
    counts = [len(language.named_objects(text)) for text in texts(np.stack([s["captions"] for s in samples(300, 6)]))]
    assert set(counts) == set(range(world.MOST_OBJECTS + 1))
    assert np.mean(counts) == pytest.approx(sum(n * share for n, share in enumerate(data.COUNT_SHARES)), abs=0.4)


def test_answers_of_a_sample_are_answers_to_its_questions() -> None:
    """Yes or no to "is there", a digit to "how many", a colour to "what colour", whatever is asked first or last."""
    for sample in samples(100, seed=8):
        asked, answers = texts(sample["questions"]), texts(sample["answers"])
        for question, answer in zip(asked, answers, strict=True):
            if question.startswith("is "):
                assert answer in (questions.YES, questions.NO)
            if question.startswith("how many"):
                assert answer.isdigit()
            if question.startswith(("what colour", "what color", "which colour")):
                assert answer in (*world.COLOURS, questions.NONE)


def test_misread_changes_some_colours_and_nothing_else() -> None:
    """About a quarter of the colour words read as any colour, the true one among them; every other token stays."""
    tokenizer = checkpoint.build_tokenizer()
    text = "a red circle in front of a blue square"
    tokens = np.tile(data.token_row(tokenizer, text, lengths.CAPTION_TOKENS), (500, 1))
    read = data.misread(tokens, np.random.default_rng(0))
    word_ids = checkpoint.word_ids()
    colours = np.isin(tokens, [word_ids[colour] for colour in world.COLOURS])
    assert np.array_equal(read[~colours], tokens[~colours])
    changed = (read != tokens)[colours].mean()
    # An eighth of the replacements hit the true colour again.
    assert changed == pytest.approx(data.MISREAD_SHARE * (1 - 1 / len(world.COLOURS)), abs=0.04)
    assert set(np.unique(read[colours])) == {word_ids[colour] for colour in world.COLOURS}
