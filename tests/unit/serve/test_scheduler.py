"""Whatever arrives and is cancelled, the plans compute every token of every sequence exactly where it can be found."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.scheduler import Scheduler, Sequence
from hypothesis import given, settings
from hypothesis import strategies as st

BLOCK = 4


def next_token(tokens: list[int]) -> int:
    return (sum((i + 1) * token for i, token in enumerate(tokens)) * 31 + 7) % 1009


@dataclass
class FakeModel:
    """A cache that remembers which token and position every slot holds; it reads only what the plan lets it see."""

    store: dict[int, tuple[int, int]] = field(default_factory=dict)

    def forward(self, plan: Plan) -> list[int]:
        for token, position, slot in zip(plan.tokens, plan.positions, plan.slots, strict=True):
            assert slot >= BLOCK, "block 0 pads and is never written"
            self.store[int(slot)] = (int(token), int(position))
        assert len(set(plan.slots.tolist())) == len(plan.slots), "two tokens in one slot"
        seen = {
            i: (row, length)
            for i, (row, length) in enumerate(zip(plan.decode_blocks, plan.decode_lengths, strict=True))
        }
        for prefill in plan.prefills:
            seen[prefill.start + prefill.count - 1] = (prefill.blocks, prefill.context + prefill.count)
        assert list(plan.decode_lengths) == sorted(plan.decode_lengths, reverse=True)
        return [next_token(self.read(*seen[int(row)])) for row in plan.emit]

    def read(self, blocks: np.ndarray, length: int) -> list[int]:
        slots = [int(blocks[i // BLOCK]) * BLOCK + i % BLOCK for i in range(length)]
        entries = [self.store[slot] for slot in slots]
        assert [position for _, position in entries] == list(range(length))
        return [token for token, _ in entries]


class World:
    def __init__(self, blocks: int, max_sequences: int, budget: int) -> None:
        self.scheduler = Scheduler(blocks, BLOCK, max_sequences, budget)
        self.model = FakeModel()
        self.order: list[Sequence] = []

    def add(self, prompt: list[int], max_tokens: int) -> Sequence:
        sequence = Sequence(prompt, max_tokens)
        self.scheduler.add(sequence)
        self.order.append(sequence)
        return sequence

    def step(self) -> bool:
        s = self.scheduler
        step = s.schedule()
        self.check(step.plan if step else None)
        if step is None:
            return False
        for sequence, token in zip(step.emit, self.model.forward(step.plan), strict=True):
            assert token == next_token(sequence.tokens), "the cache did not hold this sequence's own tokens"
            sequence.tokens.append(token)
            if len(sequence.tokens) == sequence.limit:
                s.remove(sequence)
                self.order.remove(sequence)
        return True

    def check(self, plan: Plan | None) -> None:
        s = self.scheduler
        owned = [block for sequence in s.running for block in sequence.blocks]
        assert sorted(owned + s.pool.free) == list(range(1, s.pool.size)), "blocks lost or owned twice"
        assert len(s.running) <= s.max_sequences
        assert s.running + list(s.waiting) == self.order, "those that run are the oldest"
        if plan is not None:
            assert 0 < len(plan.tokens) <= s.token_budget
        else:
            assert not self.order, "there is work and no plan"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(4, 30), st.integers(1, 6), st.integers(0, 20))
def test_every_sequence_gets_its_own_tokens_and_all_blocks_come_back(
    seed: int, blocks: int, max_sequences: int, extra_budget: int
) -> None:
    world = World(blocks, max_sequences, max_sequences + extra_budget)
    rnd = random.Random(seed)
    capacity = world.scheduler.capacity
    for _ in range(rnd.randrange(1, 60)):
        action = rnd.random()
        if action < 0.35:
            prompt = [rnd.randrange(1000) for _ in range(rnd.randrange(1, capacity))]
            world.add(prompt, rnd.randrange(1, capacity - len(prompt) + 1))
        elif action < 0.45 and world.order:
            victim = rnd.choice(world.order)
            world.scheduler.remove(victim)
            world.order.remove(victim)
        else:
            world.step()
    steps = 0
    while world.step():
        steps += 1
        assert steps < 20_000, "no progress"
    assert world.scheduler.pool.used == 0


def test_long_prompts_do_not_hold_up_running_answers() -> None:
    world = World(blocks=100, max_sequences=4, budget=8)
    short = world.add([1, 2], 50)
    world.step()
    world.add(list(range(100)), 4)
    for expected in range(4, 12):
        world.step()
        assert len(short.tokens) == expected


def test_the_youngest_makes_room_and_finishes_all_the_same() -> None:
    world = World(blocks=9, max_sequences=2, budget=16)
    old, young = world.add([1] * 10, 20), world.add([2] * 10, 20)
    while world.step():
        pass
    assert world.scheduler.preemptions >= 1
    assert len(old.tokens) == len(young.tokens) == 30


def test_what_can_never_fit_is_refused() -> None:
    world = World(blocks=5, max_sequences=2, budget=8)
    world.add([1] * 10, 6)
    with pytest.raises(ValueError, match="never fit"):
        world.scheduler.add(Sequence([1] * 10, 7))
    with pytest.raises(ValueError, match="budget"):
        Scheduler(5, BLOCK, 8, 4)
