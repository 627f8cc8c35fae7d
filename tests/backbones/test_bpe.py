"""The small vocabulary: learnt as byte-level BPE learns, written as OpenCLIP reads it."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from cirlib.backbones.bpe import train_merges, vocabulary_size, write_merges
from cirlib.data.atelier.corpus import sentences

SENTENCES = ["a red dress", "a red striped dress", "this is a dress with a belt", "it has no pockets", "redder, longer and it's blue"] * 3


def read_tokenizer(path: Path):
    from cirlib import _torchvision

    _torchvision.prepare()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(bpe_path=str(path))


@pytest.fixture(scope="module")
def merges() -> list[str]:
    return train_merges(SENTENCES, 40)


@pytest.fixture(scope="module")
def tokenizer(merges: list[str], tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("bpe") / "bpe_simple_vocab.txt.gz"
    write_merges(path, merges)
    return read_tokenizer(path)


def apply_merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def test_every_merge_was_a_most_frequent_pair_when_it_was_learnt():
    lines = ["the tall hat", "the cat that sat", "a hat that the cat ate"]
    words = Counter((*word[:-1], word[-1] + "</w>") for line in lines for word in line.split())
    learnt = train_merges(lines, 8)
    assert len(learnt) == 8
    for merge in learnt:
        pair = tuple(merge.split(" "))
        pairs: Counter = Counter()
        for word, count in words.items():
            for neighbours in zip(word, word[1:], strict=False):
                pairs[neighbours] += count
        assert pairs[pair] == max(pairs.values()), merge
        words = Counter({apply_merge(word, pair): count for word, count in words.items()})


def test_fewer_merges_are_the_first_of_more(merges: list[str]):
    assert train_merges(SENTENCES, 7) == merges[:7] and len(merges) == 40


def test_a_text_without_more_to_give_ends_the_learning():
    assert train_merges(["aa aa"], 100) == ["a a</w>"]


def test_learning_twice_gives_the_same(merges: list[str]):
    assert all(train_merges(SENTENCES, 40) == merges for _ in range(10)), "pairs that are equally frequent come in a fixed order"
    assert train_merges(sentences(100), 60) == train_merges(sentences(100), 60)


def test_the_file_has_no_time_stamp_and_no_name(tmp_path: Path, merges: list[str], monkeypatch: pytest.MonkeyPatch):
    write_merges(tmp_path / "one.gz", merges)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_merges(tmp_path / "two.gz", merges)
    content = (tmp_path / "one.gz").read_bytes()
    assert content == (tmp_path / "two.gz").read_bytes()
    assert content[4:8] == bytes(4) and content[3] == 0, "gzip's time is zero and no optional field is set"
    assert gzip.decompress(content).decode().split("\n")[1:] == merges


@pytest.mark.parametrize("count", [0, 1, 40])
def test_open_clip_reads_as_many_tokens_as_expected(tmp_path: Path, merges: list[str], count: int):
    write_merges(tmp_path / "bpe.txt.gz", merges[:count])
    tokenizer = read_tokenizer(tmp_path / "bpe.txt.gz")
    if count:
        assert tokenizer.vocab_size == vocabulary_size(count) == 514 + count
        assert tokenizer.encoder[merges[count - 1].replace(" ", "")] == vocabulary_size(count) - 3, "the last merge stands before the ends"
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1


@pytest.mark.parametrize("text", ["a red dress", "it's a red belt, with no pockets", "xylophone", "smörgåsbord 😀 漢字", "1984"])
def test_every_text_comes_back(tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text)).replace(" ", "") == text.replace(" ", "")
    assert tokenizer.decode(tokenizer.encode(text.upper())) == tokenizer.decode(tokenizer.encode(text)), "case does not matter"


def test_frequent_words_are_one_token_and_unknown_ones_are_bytes(tokenizer):
    assert len(tokenizer.encode("red dress")) == 2
    assert len(tokenizer.encode("xyzzyx")) == 6 and len(tokenizer.encode("漢字")) == 6, "three bytes a character"
    assert max(tokenizer.encode("xyzzyx")) < 512
