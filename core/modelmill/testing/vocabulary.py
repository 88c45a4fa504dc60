"""Small vocabularies, trained by byte-pair encoding on a few English sentences."""

import re
from collections import Counter
from functools import cache
from itertools import pairwise

CORPUS = """\
A model is compiled once and runs on many devices. The compiler reads the weights of the model, one tensor at a
time, and writes each of them in the type that the device can use. Nothing else is needed: the same input gives the
same output, byte for byte, on every day and in every place. What is the capital of France? The capital of France is
Paris. What is the largest planet? The largest planet is Jupiter. How many days are there in a week? There are seven
days in a week: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday. Please write a short story about a
small river. The river came down from the hills in the north and ran to the sea, and the people who lived near the
river used the water for the fields and for the mills. When the spring was dry the mills stood still, and when there
was rain they turned by day and by night. You are a helpful assistant. I can help you with questions, with text and
with numbers such as 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 25, 64, 100, 128, 512, 1024 and 2026.
"""
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+")
PIECE = re.compile(r"▁?[A-Za-z]+|▁?[0-9]|▁?[^▁A-Za-z0-9]+")


@cache
def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in byte-level BPE, as GPT-2's encoder defines it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (chr(256 + index) for index in range(256))
    return {byte: chr(byte) if byte in printable else next(others) for byte in range(256)}


@cache
def byte_level_merges(count: int) -> tuple[tuple[str, str], ...]:
    """The first merges of a byte-level vocabulary, most frequent pair first."""
    alphabet = byte_alphabet()
    words = Counter(WORD.findall(CORPUS))
    return _train({tuple(alphabet[b] for b in word.encode()): n for word, n in words.items()}, count)


@cache
def sentence_merges(count: int) -> tuple[tuple[str, str], ...]:
    """The first merges of a vocabulary over characters, with `▁` for a space, as SentencePiece trains it."""
    words = Counter(part for word in CORPUS.split() for part in PIECE.findall("▁" + word))
    return _train({tuple(word): n for word, n in words.items()}, count)


@cache
def sentence_characters() -> tuple[str, ...]:
    """The characters that the sentences use, most frequent first, with `▁` for a space."""
    counts = Counter("".join("▁" + word for word in CORPUS.split()))
    return tuple(sorted(counts, key=lambda character: (-counts[character], character)))


def _train(words: dict[tuple[str, ...], int], count: int) -> tuple[tuple[str, str], ...]:
    """Byte-pair encoding (Sennrich et al. 2016): join the most frequent pair again and again, ties by code point."""
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_join(word, best) if best[0] in word else word: n for word, n in words.items()}
    return tuple(merges)


def _join(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] = joined[-1] + symbol
        else:
            joined.append(symbol)
    return tuple(joined)
