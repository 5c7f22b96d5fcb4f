"""Text, vocabulary, corpus, and the unigram model's loss."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from pycoll.train import Corpus, Vocabulary, unigram_loss
from pycoll.train.data.text import python_reference, read_text


def test_the_default_text_is_the_language_reference() -> None:
    text = read_text(None)
    assert 200_000 < len(text) < 1_000_000
    assert 'The "try" statement' in text


def test_the_default_text_has_no_paragraph_twice() -> None:
    """Otherwise validation text would in part be training text."""
    paragraphs = python_reference().split("\n\n")
    assert len(set(paragraphs)) == len(paragraphs)


def test_a_python_without_the_default_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(FileNotFoundError, match="--data FILE"):
        python_reference()


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("naïve\n\u03b3\U0001f600".encode())
    assert read_text(path) == "naïve\n\u03b3\U0001f600"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="text is not UTF-8"):
        read_text(path)


def test_vocabulary_numbers_characters_by_code_point() -> None:
    vocabulary = Vocabulary.of("b\U0001f600aéab")
    assert vocabulary.characters == "abé\U0001f600"
    assert len(vocabulary) == 4
    np.testing.assert_array_equal(vocabulary.encode("éab\U0001f600"), [2, 0, 1, 3])
    assert vocabulary.decode([3, 0, 2]) == "\U0001f600aé"


def test_vocabulary_there_and_back() -> None:
    text = read_text(None)
    vocabulary = Vocabulary.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize("strange", ["c", "\0", "\U0001f600"])
def test_vocabulary_refuses_strange_characters(strange: str) -> None:
    """Below, between and above its own."""
    with pytest.raises(ValueError, match="not in the vocabulary"):
        Vocabulary.of("bd").encode(f"b{strange}")


def test_corpus_splits_off_the_last_tenth() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1005))
    corpus = Corpus.of(text, context=99)
    assert len(corpus.validation) == 100
    whole = np.concatenate([corpus.training, corpus.validation])
    assert corpus.vocabulary.decode(whole) == text


@pytest.mark.parametrize("text", ["", "a", "ab" * 50])
def test_corpus_refuses_a_short_text(text: str) -> None:
    with pytest.raises(ValueError, match=f"{len(text)} characters is too short.*context of 10"):
        Corpus.of(text, context=10)


def test_fingerprint_tells_texts_of_one_vocabulary_apart() -> None:
    fingerprints = {Corpus.of(text, 3).fingerprint for text in ("ab" * 50, "ba" * 50, "abba" * 50)}
    assert len(fingerprints) == 3
    assert Corpus.of("ab" * 50, 3).fingerprint == Corpus.of("ab" * 50, 9).fingerprint


def test_unigram_loss() -> None:
    """Counts 3 and 1, smoothed to 4/7, 2/7 and, for the character never seen, 1/7."""
    loss = unigram_loss(np.array([0, 0, 0, 1]), np.array([0, 1, 2]), classes=3)
    assert loss == pytest.approx(-(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3)
