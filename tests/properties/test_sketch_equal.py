from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.edge import prompts as ref
from stream_guard.sketch import parse_sketch, sketch_prompt, sketch_prompts, sketch_texts

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
WORDS = st.lists(
    st.sampled_from(["Ab", "x", "12", "3", "éa", "中", "\uff0c", "。", "😀", "—", "\ud800", ".", "İ"]), max_size=80
)
CROWDED = WORDS.map("".join) | WORDS.map(" ".join)
LONG = st.tuples(CROWDED, st.integers(1, 400), CROWDED).map(lambda parts: parts[0] * parts[1] + parts[2])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.none() | ANY_TEXT | CROWDED | LONG, max_size=6))
def test_batch_gives_the_numbers_of_the_reference(prompts: list[str | None]) -> None:
    rows = sketch_prompts(prompts)
    for prompt, row in zip(prompts, rows, strict=True):
        wanted = bytes(48) if prompt is None else parse_sketch(sketch_prompt(prompt))
        assert row.tobytes() == wanted


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY_TEXT | LONG, max_size=4))
def test_texts_give_the_text_of_the_reference(prompts: list[str]) -> None:
    assert sketch_texts(prompts) == [sketch_prompt(prompt) for prompt in prompts]


@given(st.binary(max_size=100))
def test_tokens_take_any_bytes(data: bytes) -> None:
    assert sum(map(len, ref.tokens(data))) <= len(data)
