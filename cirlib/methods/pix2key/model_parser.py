"""Edit parsing by a language model (paper, Fig. 1), with the rules as a safety net (our own choice).

The model gets the reference's dictionary and the text and answers {"positive": {key: value}, "negative": {key: value}, "open": [key]}. An
answer that is not strict JSON is repaired; one that cannot be read at all is replaced by the rule-based parser's, and counted.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence

from cirlib._cache import cache_dir
from cirlib.backbones.vlm import VisionLanguageModel
from cirlib.backbones.vlm_cache import write_texts
from cirlib.backbones.vlm_prompts import EDIT_VERSION, edit_prompt
from cirlib.data.lexicon import YES, load_lexicon
from cirlib.methods.pix2key.dictionary import CATEGORY, NO, Dictionary, Triple, canonical, dictionary_json, load_repaired, triples
from cirlib.methods.pix2key.rule_parser import RuleParser
from cirlib.methods.pix2key.signed import EditParser, Updates

_PARTS = ("positive", "negative", "open")


class ModelParser:
    """Signed updates by a language model; an `EditParser`.

    Args:
        vlm: The model; no picture is shown to it.
        cache: Folder for answers, under the user's cache folder by default.
        batch: Prompts per pass.
        progress: Show bars.
        fallback: Parses what the model's answer does not tell; the rules by default.

    Attributes:
        outcomes: Texts by how their answer was read: "json", "repaired" or "fallback". Every call of `parse` adds to it.
    """

    name = "model"

    def __init__(
        self,
        vlm: VisionLanguageModel,
        cache: str | os.PathLike[str] | None = None,
        batch: int = 64,
        progress: bool = True,
        fallback: EditParser | None = None,
    ) -> None:
        self.vlm, self.batch, self.progress = vlm, batch, progress
        self.cache = cache if cache is not None else cache_dir("vlm")
        self.fallback = fallback or RuleParser()
        self.outcomes: Counter[str] = Counter()

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides the updates, for reports."""
        return {**self.vlm.fingerprint, "prompt": EDIT_VERSION, "fallback": self.fallback.name}

    def parse(self, texts: Sequence[str], references: Sequence[Dictionary]) -> list[Updates]:
        """One `Updates` per text, in order; `references` holds the dictionary of each reference image."""
        prompts = [edit_prompt(dictionary_json(reference), text) for text, reference in zip(texts, references, strict=True)]
        answers = write_texts(self.vlm, prompts, EDIT_VERSION, self.cache, self.batch, self.progress)
        result = []
        for answer, text, reference in zip(answers, texts, references, strict=True):
            updates, how = parse_updates(answer, reference)
            self.outcomes[how] += 1
            result.append(self.fallback.parse([text], [reference])[0] if updates is None else updates)
        return result


def parse_updates(answer: str, reference: Dictionary = ()) -> tuple[Updates | None, str]:
    """Read signed updates from a model's answer.

    A detail that "positive" denies ("belt": "no") is avoided. A category that only repeats the reference's is no want.

    Args:
        answer: Text of the model.
        reference: Dictionary of the reference image.

    Returns:
        The updates and how they were read, "json" or "repaired"; None and "fallback" where the answer has none of the three parts.
        All three may be empty: then nothing is asked for.

    Example:
        >>> updates, how = parse_updates('{"positive": {"colour": "red"}, "negative": {"belt": "yes"}, "open": ["neckline"],}')
        >>> updates.wants, updates.avoids, updates.open, how
        ((Entry(key='color', value='red', object=''),), (Entry(key='belt', value='yes', object=''),), ('neckline',), 'repaired')
    """
    how = "json"
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        data, how = load_repaired(answer), "repaired"
    if not isinstance(data, dict) or not any(isinstance(data.get(part), dict | list) for part in _PARTS):
        return None, "fallback"
    lexicon = load_lexicon()
    positive, negative = _facts(data.get("positive")), _facts(data.get("negative"))
    details = {name for name, known in lexicon.keys.items() if known.presence}
    denied = [fact for fact in positive if lexicon.key(fact[1]) in details and fact[2].strip().casefold() in NO]
    category = {entry.value for entry in reference if entry.key == CATEGORY}
    wants = canonical(fact for fact in positive if fact not in denied)
    wants = tuple(entry for entry in wants if entry.key != CATEGORY or entry.value not in category)
    avoids = canonical([*negative, *((name, key, YES) for name, key, _ in denied)], join=False)
    opened = data.get("open")
    keys = {lexicon.key(key) for key in opened if isinstance(key, str)} if isinstance(opened, dict | list) else set()
    free = keys - {entry.key for entry in wants} - {""}
    return Updates(wants, avoids, tuple(sorted(free, key=lexicon.place))), how


def _facts(part: object) -> list[Triple]:
    """(object, key, value) of one part of the answer; names of objects that only lead to their keys are no facts of their own."""
    return [fact for fact in triples(part) if not (fact[0] and fact[1] == CATEGORY and fact[2] == fact[0])]
