"""Iteration-level scheduling (Orca, OSDI 2022) with chunked prefill (Sarathi, arXiv:2308.16369) over paged blocks.

Pure: requests in, plan out; no clock, no torch. Sequences are served in the order of their arrival: those that run are
always the oldest, and when blocks run out the youngest gives its own back and is computed again later.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from deepseek_runtime.serve.plan import Indices, Plan, Prefill

WATERMARK = 0.02
"""Part of the blocks kept free when a sequence is admitted: growth for those that run, without preemption."""


class Sequence:
    """The tokens of one request and the blocks that hold what was computed of them."""

    def __init__(self, prompt: list[int], max_tokens: int) -> None:
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.limit = len(prompt) + max_tokens
        self.blocks: list[int] = []
        self.computed = 0

    @property
    def output(self) -> list[int]:
        """What was generated so far."""
        return self.tokens[self.prompt_length :]

    @property
    def pending(self) -> int:
        """Tokens whose cache entries are not computed; 1 while it decodes."""
        return len(self.tokens) - self.computed


@dataclass(slots=True)
class BlockPool:
    """The blocks nobody owns. Block 0 pads block tables and is never given out."""

    size: int
    free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.free = list(range(self.size - 1, 0, -1))

    @property
    def used(self) -> float:
        """Part of the blocks that sequences own: 0 to 1."""
        return 1 - len(self.free) / (self.size - 1)


@dataclass(frozen=True, slots=True)
class Step:
    """A plan, and the sequence that gets each row of its logits."""

    plan: Plan
    emit: tuple[Sequence, ...]


class Scheduler:
    """Decides each iteration within `token_budget` tokens, `max_sequences` sequences and `blocks` blocks."""

    def __init__(self, blocks: int, block_size: int, max_sequences: int, token_budget: int) -> None:
        if token_budget < max_sequences:
            raise ValueError("the token budget must hold one token of every sequence")
        self.pool = BlockPool(blocks)
        self.block_size = block_size
        self.max_sequences = max_sequences
        self.token_budget = token_budget
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.preemptions = 0

    @property
    def capacity(self) -> int:
        """The longest sequence that fits when it is alone, in tokens."""
        return (self.pool.size - 1) * self.block_size

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence of at most `capacity` tokens, its answer included."""
        if sequence.limit > self.capacity:
            raise ValueError(f"{sequence.limit} tokens can never fit into a cache of {self.capacity}")
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a finished or cancelled sequence and take its blocks back."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._release(sequence)

    def schedule(self) -> Step | None:
        """The next iteration, or None when there is nothing to do. Its tokens count as computed from now on."""
        counts: dict[Sequence, int] = {}
        preemptions = self.preemptions
        for sequence in list(self.running):
            if sequence.pending == 1 and sequence.blocks and self._grow(sequence):
                counts[sequence] = 1
        counts = {sequence: 1 for sequence in counts if sequence.blocks}  # those that made no room
        left = self.token_budget - len(counts)
        for sequence in self.running:
            if sequence not in counts and left > 0:
                counts[sequence] = min(sequence.pending, left)
                left -= counts[sequence]
        if self.preemptions == preemptions:  # else what was just freed would be taken right back
            while left > 0 and (admitted := self._admit()) is not None:
                counts[admitted] = min(admitted.pending, left)
                left -= counts[admitted]
        return self._step(counts) if counts else None

    def _admit(self) -> Sequence | None:
        """Start the oldest waiting sequence if the blocks of its prompt, and a reserve, are free."""
        if not self.waiting or len(self.running) == self.max_sequences:
            return None
        sequence = self.waiting[0]
        need = self._blocks_for(len(sequence.tokens))
        reserve = max(1, int(self.pool.size * WATERMARK)) if self.running else 0
        if need + reserve > len(self.pool.free):
            return None
        self.waiting.popleft()
        self.running.append(sequence)
        self._take(sequence, need)
        return sequence

    def _grow(self, sequence: Sequence) -> bool:
        """Make sure that the next token has a slot; False if the sequence itself had to make room."""
        if self._blocks_for(len(sequence.tokens)) == len(sequence.blocks):
            return True
        while not self.pool.free:
            youngest = self.running.pop()
            self._release(youngest)
            self.waiting.appendleft(youngest)
            self.preemptions += 1
            if youngest is sequence:
                return False
        self._take(sequence, 1)
        return True

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _take(self, sequence: Sequence, count: int) -> None:
        sequence.blocks.extend(self.pool.free.pop() for _ in range(count))

    def _release(self, sequence: Sequence) -> None:
        self.pool.free.extend(reversed(sequence.blocks))
        sequence.blocks = []
        sequence.computed = 0

    def _step(self, counts: dict[Sequence, int]) -> Step:
        decodes = sorted((s for s, n in counts.items() if n == 1), key=lambda s: -s.computed)
        chunks = [(s, n) for s, n in counts.items() if n > 1]
        most = max((self._blocks_for(s.computed + 1) for s in decodes), default=0)
        table = np.zeros((len(decodes), most), np.int64)
        for row, sequence in zip(table, decodes, strict=True):
            needed = self._blocks_for(sequence.computed + 1)
            row[:needed] = sequence.blocks[:needed]
        lengths = np.array([s.computed + 1 for s in decodes], np.int64)

        tokens: list[int] = []
        positions: list[Indices] = []
        slots: list[Indices] = []
        prefills: list[Prefill] = []
        emit: list[int] = []
        emitting: list[Sequence] = []
        for sequence, count in [(s, 1) for s in decodes] + chunks:
            context, end = sequence.computed, sequence.computed + count
            blocks = np.array(sequence.blocks[: self._blocks_for(end)], np.int64)
            where = np.arange(context, end)
            if count > 1:
                prefills.append(Prefill(len(tokens), count, context, blocks))
            tokens.extend(sequence.tokens[context:end])
            positions.append(where)
            slots.append(blocks[where // self.block_size] * self.block_size + where % self.block_size)
            sequence.computed = end
            if sequence.pending == 0:
                emit.append(len(tokens) - 1)
                emitting.append(sequence)
        plan = Plan(
            tokens=np.array(tokens, np.int64),
            positions=np.concatenate(positions),
            slots=np.concatenate(slots),
            decode_blocks=table,
            decode_lengths=lengths,
            prefills=tuple(prefills),
            emit=np.array(emit, np.int64),
        )
        return Step(plan, tuple(emitting))
