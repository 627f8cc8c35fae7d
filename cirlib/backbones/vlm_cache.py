"""Answers of a vision-language model on disk, by the content of what was asked and by everything that decided the answer.

One JSON-lines file per model fingerprint, prompt version and answer length. Lines are appended batch by batch: an interruption loses one
batch at most, and a line that it cut short is skipped and asked for again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cirlib.backbones.vlm import MAX_NEW_TOKENS, VisionLanguageModel
from cirlib.backbones.vlm_prompts import Prompt
from cirlib.types import ImageSet


class AnswerCache:
    """Answers by content hash, for one model, prompt version and answer length.

    Args:
        folder: Folder of all caches; made when the first answers are added.
        settings: Everything that decides an answer but the content itself; other settings are another file.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True)
        self.path = Path(folder) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
        self.settings = settings
        self.answers: dict[str, str] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self.answers[entry["hash"]] = entry["answer"]
        except (ValueError, KeyError, TypeError):
            return  # cut short by an interruption, or the settings line

    def add(self, answers: dict[str, str]) -> None:
        """Append answers; each line is whole or skipped when read, so that writers may run side by side."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"hash": content, "answer": answer}) for content, answer in answers.items()]
        # The leading line break closes a line that an earlier run left unfinished.
        head = "\n" if self.path.exists() else json.dumps({"settings": self.settings}) + "\n"
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(head + "\n".join(lines) + "\n")
        self.answers |= answers


def write_image_set(
    vlm: VisionLanguageModel,
    images: ImageSet,
    prompt: Prompt,
    cache: str | os.PathLike[str] | None = None,
    batch: int = 64,
    progress: bool = True,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Answers to one prompt for every picture, in the order of the set. Equal pictures (by content) are asked about once.

    Args:
        vlm: Model; its fingerprint is part of the cache's key.
        images: Pictures. Those in the cache are not opened.
        prompt: Instruction; its version is part of the cache's key.
        cache: Folder of the caches; None keeps nothing.
        batch: Pictures per pass; also how many an interruption loses at most.
        progress: Show a bar while there is something to ask.
        max_new_tokens: See `VisionLanguageModel.write`.

    Raises:
        InputError: If a picture cannot be read.
    """
    hashes = [images.content_hash(image_id) for image_id in images.ids]
    first = {content: image_id for content, image_id in zip(reversed(hashes), reversed(images.ids), strict=True)}

    def ask(contents: Sequence[str]) -> list[str]:
        return vlm.write([images.open(first[content]) for content in contents], prompt.text, max_new_tokens)

    store = None if cache is None else AnswerCache(cache, _settings(vlm, prompt.version, max_new_tokens))
    return _answer(hashes, ask, store, batch, prompt.name if progress else None)


def write_texts(
    vlm: VisionLanguageModel,
    prompts: Sequence[str],
    version: str,
    cache: str | os.PathLike[str] | None = None,
    batch: int = 64,
    progress: bool = True,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Answers to prompts without pictures, in their order. Equal prompts are asked once.

    Args:
        vlm: Model.
        prompts: Whole prompts, such as `vlm_prompts.edit_prompt` makes them.
        version: Version of their wording and of what the answer means, part of the cache's key.
        cache: Folder of the caches; None keeps nothing.
        batch: Prompts per pass; neighbours in length share one, so that little is padded.
        progress: Show a bar while there is something to ask.
        max_new_tokens: See `VisionLanguageModel.write`.
    """
    texts = {hashlib.sha256(prompt.encode()).hexdigest(): prompt for prompt in sorted(prompts, key=len)}
    hashes = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in prompts]

    def ask(contents: Sequence[str]) -> list[str]:
        return vlm.write(None, [texts[content] for content in contents], max_new_tokens)

    store = None if cache is None else AnswerCache(cache, _settings(vlm, version, max_new_tokens))
    answers = dict(zip(texts, _answer(list(texts), ask, store, batch, version if progress else None), strict=True))
    return [answers[content] for content in hashes]


def _settings(vlm: VisionLanguageModel, version: str, max_new_tokens: int) -> dict[str, Any]:
    return {"model": vlm.fingerprint, "prompt": version, "max_new_tokens": max_new_tokens}


def _answer(
    hashes: Sequence[str], ask: Callable[[Sequence[str]], list[str]], store: AnswerCache | None, batch: int, label: str | None
) -> list[str]:
    """Take what the store has, ask for the rest batch by batch, and put all in order."""
    known = {} if store is None else store.answers
    answers = {content: known[content] for content in hashes if content in known}
    pending = [content for content in dict.fromkeys(hashes) if content not in answers]
    with tqdm(total=len(pending), desc=f"Writing ({label})", disable=label is None or not pending) as bar:
        for start in range(0, len(pending), batch):
            contents = pending[start : start + batch]
            new = dict(zip(contents, ask(contents), strict=True))
            if store is not None:
                store.add(new)
            answers |= new
            bar.update(len(contents))
    return [answers[content] for content in hashes]
