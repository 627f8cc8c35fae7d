"""Dictionaries of pictures, written by a vision-language model (paper), read without ever failing (our own choice).

An answer without JSON is asked for once more in other words, since greedy decoding would only repeat itself; after that its lines are read,
and a picture whose answers hold nothing has an empty dictionary. Indexing never stops for one picture; `outcomes` says what happened.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence

from cirlib._cache import cache_dir
from cirlib.backbones.vlm import VisionLanguageModel
from cirlib.backbones.vlm_cache import write_image_set
from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT, Prompt
from cirlib.methods.pix2key.dictionary import Dictionary, Parsed, parse_dictionary
from cirlib.types import ImageSet, InputError

Write = Callable[[ImageSet, Prompt], Sequence[str]]
_READ = ("json", "repaired")


class DictionaryExtractor:
    """Writes one dictionary per picture. Pictures are known by content: each is asked about, read and counted once.

    Args:
        vlm: The model; None only beside `write`.
        prompt: Its instruction.
        cache: Folder for answers, under the user's cache folder by default; they are kept by picture, model and prompt version.
        batch: Pictures per pass, and how many an interruption loses at most.
        progress: Show bars.
        write: What answers a prompt for every picture, in place of `vlm` (V-Dict-AE's slots); it keeps its own cache.

    Attributes:
        outcomes: Pictures by how their dictionary was read: "json", "repaired", "lines" or "empty".
        retried: Pictures that were asked about twice.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel | None,
        prompt: Prompt = DICTIONARY_PROMPT,
        cache: str | os.PathLike[str] | None = None,
        batch: int = 64,
        progress: bool = True,
        write: Write | None = None,
    ) -> None:
        if (vlm is None) == (write is None):
            raise InputError("a dictionary extractor needs a model or a writer, and not both; give one of them")

        def ask(images: ImageSet, asked: Prompt) -> list[str]:
            folder = cache if cache is not None else cache_dir("vlm")  # at each use, so that `cirlib._cache.scratch_cache` reaches it
            return write_image_set(vlm, images, asked, folder, batch, progress)

        self.prompt = prompt
        self.write = write or ask
        self.retried = 0
        self._source = write if vlm is None else vlm
        self._parsed: dict[str, Parsed] = {}

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides a dictionary, for reports."""
        return {**getattr(self._source, "fingerprint", {}), "prompt": self.prompt.version}

    @property
    def outcomes(self) -> Counter[str]:
        """Pictures by how their dictionary was read."""
        return Counter(parsed.how for parsed in self._parsed.values())

    def __call__(self, images: ImageSet) -> list[Dictionary]:
        """One dictionary per picture, in the order of the set.

        Raises:
            InputError: If a picture cannot be read.
        """
        hashes = [images.content_hash(image_id) for image_id in images.ids]
        new = {content: image_id for content, image_id in zip(hashes, images.ids, strict=True) if content not in self._parsed}
        if new:
            self._parsed |= zip(new, self._extract(images.select(new.values())), strict=True)
        return [self._parsed[content].entries for content in hashes]

    def _extract(self, images: ImageSet) -> list[Parsed]:
        parsed = [parse_dictionary(answer) for answer in self.write(images, self.prompt)]
        unread = [place for place, found in enumerate(parsed) if found.how not in _READ]
        if unread:
            again = Prompt(self.prompt.name, f"{self.prompt.version}-again", f"{self.prompt.text} Answer with the JSON and nothing else.")
            for place, answer in zip(unread, self.write(images.select(images.ids[place] for place in unread), again), strict=True):
                second = parse_dictionary(answer)
                if second.how in _READ or not parsed[place].entries:
                    parsed[place] = second
            self.retried += len(unread)
        return parsed
