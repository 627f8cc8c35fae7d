"""A small vocabulary for the miniature CLIP: the byte-level BPE of CLIP itself, with merges learnt from our own sentences."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""  # how CLIP cuts text before it merges


def train_merges(sentences: Iterable[str], merges: int) -> list[str]:
    """Learn merges from sentences, most useful first, each as "left right". May return fewer when the text has no more to give."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        special_tokens=[*alphabet, *(f"{byte}</w>" for byte in alphabet)],  # their ids break ties: left to the trainer, they are random
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return [" ".join(pair) for pair in learnt][:merges]


def write_merges(path: Path, merges: Iterable[str]) -> None:
    """Write merges as OpenCLIP's SimpleTokenizer reads them: gzip, one header line, one merge a line, no last newline."""
    text = "\n".join(["#version: 0.2 cirlib atelier", *merges])
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file,
    ):  # no time stamp: same text, same bytes
        file.write(text.encode())


def vocabulary_size(merges: int) -> int:
    """Tokens of a SimpleTokenizer: 256 bytes, 256 bytes that end a word, the merges, start and end of text."""
    return 512 + merges + 2
