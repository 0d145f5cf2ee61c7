"""Every chunk is fetched once, however the work is shared out."""

import random

from deepseek_runtime.fetch.board import Board, Piece, Target
from deepseek_runtime.fetch.hashing import FileHash
from deepseek_runtime.fetch.source import RemoteFile
from hypothesis import given
from hypothesis import strategies as st

CHUNK = 10


@given(
    st.lists(st.tuples(st.integers(0, 200), st.sets(st.integers(0, 20)), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 2**32),
)
def test_every_missing_byte_once(shapes: list[tuple[int, set[int], bool]], seed: int) -> None:
    randomly = random.Random(seed)
    targets = []
    for index, (size, finished, ranged) in enumerate(shapes):
        target = Target(index, RemoteFile(path=str(index), size=size), CHUNK, FileHash(size, blob=False), -1)
        target.finished, target.ranged = {chunk for chunk in finished if chunk < target.chunks}, ranged
        targets.append(target)
    missing = [(t.index, byte) for t in targets for byte in range(t.file.size) if byte // CHUNK not in t.finished]
    board, at_work, fetched = Board(targets), list[Piece](), list[tuple[int, int]]()
    while True:
        if len(at_work) < 3 and (piece := board.claim()) is not None:
            assert piece.at < piece.end
            assert piece.target.ranged or piece.target.pieces == [piece]
            at_work.append(piece)
        elif not at_work:
            break
        piece = randomly.choice(at_work)
        if piece.at >= piece.asked and not board.ask(piece):
            board.release(piece)
            at_work.remove(piece)
            continue
        step = min(randomly.randint(1, CHUNK), (piece.at // CHUNK + 1) * CHUNK - piece.at, piece.asked - piece.at)
        fetched += [(piece.target.index, byte) for byte in range(piece.at, piece.at + step)]
        piece.at += step
        if len(at_work) < 3 and (other := board.claim()) is not None:  # while the chunk is written to the disk
            at_work.append(other)
        if piece.at % CHUNK == 0 or piece.at == piece.target.file.size:
            board.finish(piece, (piece.at - 1) // CHUNK)
    assert sorted(fetched) == missing
    assert all(target.bytes_finished == target.file.size for target in targets)
