from __future__ import annotations

import random

import pytest

from stream_guard.edge import prompts as ref
from stream_guard.records import SKETCH
from stream_guard.sketch import parse_sketch, sketch_prompt, sketch_prompts

WORDS = [f"{a}{b}{c}" for a in ("ba", "ke", "lo", "mi") for b in ("ra", "ten", "sul") for c in ("d", "mo", "x", "nt")]


def words(seed: int, count: int) -> list[str]:
    generator = random.Random(seed)
    return [generator.choice(WORDS) + generator.choice(WORDS) for _ in range(count)]


def shared(a: str, b: str) -> int:
    rows = sketch_prompts([a, b])
    return int(((rows["keys"][0] == rows["keys"][1]) & (rows["keys"][0] != 0)).sum())


def topic_distance(a: str, b: str) -> int:
    first, second = sketch_prompts([a, b])["topic"].tolist()
    return int(first ^ second).bit_count()


def test_exact_ignores_case_punctuation_and_spacing_but_not_numbers_or_order() -> None:
    same = sketch_prompts(["What is 3 plus 4?", "  WHAT is\n3 -- plus 4", "What is 3 plus 5?", "What is 4 plus 3?"])
    exact = same["exact"].tolist()
    assert exact[0] == exact[1]
    assert len(set(exact)) == 3


def test_keys_fold_numbers() -> None:
    rows = sketch_prompts(["Give me 12 short jokes about cats please", "Give me 7 short jokes about cats please"])
    assert rows["keys"][0].tolist() == rows["keys"][1].tolist()
    assert rows["exact"][0] != rows["exact"][1]


def test_short_prompts_have_identity_but_no_keys() -> None:
    (row,) = sketch_prompts(["only five words are here"])
    assert row["exact"] != 0
    assert not row["keys"].any()


def test_no_prompt_and_no_token_are_zeros() -> None:
    rows = sketch_prompts([None, "", "?! — …"])
    assert rows.tobytes() == bytes(3 * SKETCH.itemsize)
    assert sketch_prompts([]).shape == (0,)


def test_a_shared_frame_shows_in_several_keys() -> None:
    frame = " ".join(words(1, 60))
    assert shared(f"{frame} {' '.join(words(2, 15))}", f"{frame} {' '.join(words(3, 15))}") >= 2


def test_an_appended_demand_shows_in_the_last_key() -> None:
    tail = " ".join(words(4, 20))
    first, second = (f"{' '.join(words(seed, 150))} {tail}" for seed in (5, 6))
    rows = sketch_prompts([first, second])
    assert rows["keys"][0, 7] == rows["keys"][1, 7] != 0


def test_unrelated_prompts_share_nothing() -> None:
    assert shared(" ".join(words(7, 80)), " ".join(words(8, 80))) == 0


def test_topic_does_not_see_word_order() -> None:
    bag = words(9, 40)
    shuffled = random.Random(1).sample(bag, len(bag))
    assert topic_distance(" ".join(bag), " ".join(shuffled)) == 0
    assert topic_distance(" ".join(bag), " ".join(words(10, 40))) > 16


def test_only_head_and_tail_of_a_long_prompt_count() -> None:
    head, tail = "alpha beta gamma delta " * 180, " omega psi chi phi" * 60
    assert sketch_prompt(head + "x " * 3000 + tail)[4:] == sketch_prompt(head + "y " * 3000 + tail)[4:]


def test_a_row_of_the_batch_does_not_depend_on_its_neighbours() -> None:
    prompts = [" ".join(words(seed, seed % 90)) for seed in range(400)]  # several chunks
    together = sketch_prompts(prompts)
    assert all(
        sketch_prompts([prompt]).tobytes() == row.tobytes() for prompt, row in zip(prompts, together, strict=True)
    )


def test_the_largest_chunk() -> None:
    prompts = ["a " * 3000] * 6 + ["b" * 2034, "c " * 3000]  # one byte below the limit, then the longest window
    assert sum(len(ref.window(prompt.encode())) + 1 for prompt in prompts[:-1]) == (1 << 15) - 1
    rows = sketch_prompts(prompts)
    assert [row.tobytes() for row in rows] == [parse_sketch(sketch_prompt(prompt)) for prompt in prompts]


@pytest.mark.parametrize("text", ["", "zz" * 50, "01" * 49, "01" * 51, "01 " * 33 + "0", "é" * 100])
def test_parse_refuses_what_is_no_sketch_and_quotes_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a sketch is 100 hexadecimal digits$"):
        parse_sketch(text)


def test_parse_refuses_other_versions() -> None:
    with pytest.raises(ValueError, match="version 2"):
        parse_sketch("02" + sketch_prompt("some text")[2:])
