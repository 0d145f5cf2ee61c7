"""Properties of rows: nothing is lost, nothing is learned twice, nothing sees its neighbour."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.batch import IGNORED
from deepseek_runtime.train.sft import examples
from deepseek_runtime.train.sft.examples import Store, Tokenized
from deepseek_runtime.train.sft.packing import pack
from deepseek_runtime.train.sft.rows import Rows
from deepseek_runtime.wire.progress import Examples
from hypothesis import given
from hypothesis import strategies as st

CAPACITY = 24
FILLING = 65_000


@st.composite
def stores(draw: st.DrawFn) -> Store:
    """Examples whose every token has a number of its own, with answers anywhere but at the beginning."""
    shapes = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=CAPACITY), min_size=1, max_size=30))
    answers = [[False, *shape[:-1], True] for shape in shapes]
    tokens = np.arange(sum(map(len, answers)), dtype=np.uint32)
    ends = np.cumsum([len(answer) for answer in answers])
    return Store(tokens, np.concatenate(answers), ends.astype(np.int64), Examples(total=len(answers)))


@given(
    lengths=st.lists(st.integers(1, CAPACITY), min_size=1, max_size=200), seed=st.integers(0, 3), more=st.integers(0, 9)
)
def test_every_example_is_in_one_row_and_no_row_is_too_long(lengths: list[int], seed: int, more: int) -> None:
    rows = pack(lengths, CAPACITY + more, seed)
    assert sorted(example for row in rows for example in row) == list(range(len(lengths)))
    totals = [sum(lengths[example] for example in row) for row in rows]
    assert max(totals) <= CAPACITY + more
    assert sum(total <= (CAPACITY + more) // 2 for total in totals) <= 1, "two half-empty rows would be one"
    assert rows == pack(lengths, CAPACITY + more, seed)


@given(store=stores(), batch=st.sampled_from([1, 2, 4]), seed=st.integers(0, 3), epochs=st.integers(1, 3))
def test_every_answer_is_learned_once_in_an_epoch_after_what_precedes_it(
    store: Store, batch: int, seed: int, epochs: int
) -> None:
    rows = Rows(store, FILLING, CAPACITY, batch, seed, steps=None, epochs=epochs)
    starts = np.concatenate(([0], store.ends[:-1]))
    learned: Counter[int] = Counter()
    met = 0
    for step in range(rows.steps):
        found = rows.batch(step)
        assert found.positions is not None
        assert found.filled is not None
        targets, counted = found.targets, found.targets != IGNORED
        assert found.learned == int(counted.sum())
        learned.update(targets[counted].tolist())
        met += int(found.filled.sum())
        # what is learned follows its own example's token, at its own place in it
        example = np.searchsorted(store.ends, targets[counted].numpy(), side="right")
        assert torch.equal(found.inputs[counted], targets[counted] - 1)
        assert (found.positions[counted].numpy() == targets[counted].numpy() - starts[example] - 1).all()
        assert bool((found.inputs[~found.filled] == FILLING).all())
        assert not bool((counted & ~found.filled).any())
        # an example begins with position 0 and the padding does, too, so that nothing sees its neighbour
        begins = torch.isin(found.inputs, torch.from_numpy(starts)) & found.filled
        begins[:, 1:] |= found.filled[:, :-1] & ~found.filled[:, 1:]
        begins[:, 0] = True
        assert torch.equal(found.positions == 0, begins)
    answers = np.flatnonzero(store.answers).tolist()
    assert learned == dict.fromkeys(answers, epochs)
    assert met == (len(store.tokens) - len(store.ends)) * epochs == round(rows.tokens_per_step * rows.steps)


@given(store=stores(), step=st.integers(0, 40), shares=st.sampled_from([1, 2, 4]))
def test_shares_together_are_the_batch_whatever_was_asked_before(store: Store, step: int, shares: int) -> None:
    whole = Rows(store, FILLING, CAPACITY, 4, 1, steps=100).batch(step)
    resumed = Rows(store, FILLING, CAPACITY, 4, 1, steps=100)
    parts = [resumed.batch(step, share, shares) for share in range(shares)]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    assert {part.learned for part in parts} == {whole.learned}


@given(answers=st.lists(st.booleans(), max_size=40), longest=st.integers(0, 40))
def test_what_is_too_long_ends_with_its_last_whole_answer(answers: list[bool], longest: int) -> None:
    whole = Tokenized(list(range(len(answers))), answers)
    kept = whole.cut(longest)
    end = len(kept.tokens)
    assert end <= longest
    assert (kept.tokens, kept.answers) == (whole.tokens[:end], answers[:end])

    def ends_an_answer(place: int) -> bool:
        return answers[place - 1] and not any(answers[place : place + 1])

    assert end == 0 or ends_an_answer(end)
    assert not any(ends_an_answer(place) for place in range(end + 1, min(longest, len(answers)) + 1))


def test_no_example_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every line of the data is empty"):
        examples.write(iter(()), 4, tmp_path / "examples")
    assert not (tmp_path / "examples").exists()


def test_examples_on_disk_are_those_that_were_written(tmp_path: Path) -> None:
    given_examples = [
        Tokenized([1, 2, 3], [False, True, True]),
        Tokenized([4, 5, 6, 7, 8, 9], [False, True, False, True, True, True]),
        Tokenized([1] * 9, [False] * 8 + [True]),
        Tokenized([70_000, 8, 1], [False, True, False]),
    ]
    target = tmp_path / "examples"
    examples.write(iter(given_examples), 4, target)
    store = Store.open(target)
    assert store.tokens.tolist() == [1, 2, 3, 4, 5, 70_000, 8]
    assert store.answers.tolist() == [False, True, True, False, True, False, True]
    assert store.ends.tolist() == [3, 5, 7]
    assert store.found == Examples(total=4, cut=1, left_out=1)
