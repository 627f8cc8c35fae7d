"""The card of the miniature vision-language model: `python -m cirlib.vlm_card` measures the shipped checkpoint and writes what it is.

Everything is compared with atelier's truth, on splits that the training never saw: dictionaries and captions on pictures of `test`, edits
and rewriting on queries of `val` with the reference's true dictionary or caption, so that reading pictures and reading texts are told
apart. `card.json` is read by `cirlib check`; `README.md` says the same to people. Nothing on a card is written by hand.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cirlib._cards import write_checkpoint_card
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vlm import VisionLanguageModel, load_vlm
from cirlib.backbones.vlm_cache import write_image_set, write_texts
from cirlib.backbones.vlm_lessons import dictionary_answer, edit_answer, full_caption, rewritten_caption
from cirlib.backbones.vlm_prompts import CAPTION_PROMPT, DICTIONARY_PROMPT, EDIT_VERSION, REWRITE_VERSION, edit_prompt, rewrite_prompt
from cirlib.backbones.vlm_reading import Pairs, read_caption, read_dictionary, read_updates
from cirlib.card_numbers import interval_cell, interval_numbers
from cirlib.data.atelier import VERSION, load_atelier, load_pictures
from cirlib.data.atelier.splits import picture

PICTURES = 1024  # of `test`
QUERIES = 1000  # of `val`
PUBLIC_MODEL = "Qwen/Qwen2.5-VL-3B-Instruct"


def measure(vlm: VisionLanguageModel, pictures: int = PICTURES, queries: int = QUERIES) -> dict[str, Any]:
    """All four tasks, as fractions with 95 % intervals over pictures or queries."""
    images = load_pictures("test", pictures)
    designs = [picture("test", index).design for index in range(pictures)]
    truths = [dictionary_answer(design) for design in designs]
    dictionaries = write_image_set(vlm, images, DICTIONARY_PROMPT)
    captions = write_image_set(vlm, images, CAPTION_PROMPT)
    benchmark = load_atelier("val", max(640, 64 * -(-queries // 64)), queries)
    references = [picture("val", benchmark.references.rows[query.reference]).design for query in benchmark.queries]
    asked = list(zip(benchmark.queries, references, strict=True))
    edits = write_texts(vlm, [edit_prompt(dictionary_answer(design), query.text) for query, design in asked], EDIT_VERSION)
    rewritten = write_texts(vlm, [rewrite_prompt(full_caption(design), query.text) for query, design in asked], REWRITE_VERSION)
    return {
        "pictures": pictures,
        "queries": queries,
        "dictionaries": dictionary_metrics(dictionaries, truths),
        "captions": caption_metrics(captions, [full_caption(design) for design in designs]),
        "edits": edit_metrics(edits, [edit_answer(query.edit, design, query.text) for query, design in asked]),
        "rewriting": caption_metrics(rewritten, [rewritten_caption(query.edit, design) for query, design in asked]),
    }


def dictionary_metrics(answers: Sequence[str], truths: Sequence[str]) -> dict[str, Any]:
    """Share of well-formed answers and of exact ones, and precision and recall over pairs, whole and by key.

    An answer that cannot be read counts as an empty dictionary. The object is the value of the key "category".
    """
    read = [read_dictionary(answer) for answer in answers]
    said, true = [pairs or frozenset() for pairs in read], [read_dictionary(truth) for truth in truths]
    keys = list(dict.fromkeys(key for truth in truths for key in ("category", *next(iter(json.loads(truth).values())))))
    return {
        "well_formed": _mean(pairs is not None for pairs in read),
        "exact": _mean(a == b for a, b in zip(said, true, strict=True)),
        **precision_recall(said, true),
        "by_key": {key: precision_recall(_only(said, {key}), _only(true, {key})) for key in keys},
    }


def caption_metrics(answers: Sequence[str], truths: Sequence[str]) -> dict[str, Any]:
    """Share of captions that say nothing false, share that are the wanted one, and precision and recall over what is said.

    Captions are read by atelier's own words; a phrase that is none of them counts as false.
    """
    said, true = [read_caption(answer) for answer in answers], [read_caption(truth) for truth in truths]
    return {
        "faithful": _mean(a <= b for a, b in zip(said, true, strict=True)),
        "exact": _mean(a == b for a, b in zip(answers, truths, strict=True)),
        **precision_recall(said, true),
    }


def edit_metrics(answers: Sequence[str], truths: Sequence[str]) -> dict[str, Any]:
    """Share of well-formed answers and of exact ones, and precision and recall over pairs for each polarity."""
    read = [read_updates(answer) for answer in answers]
    said, true = [parts or {} for parts in read], [read_updates(truth) for truth in truths]
    return {
        "well_formed": _mean(parts is not None for parts in read),
        "exact": _mean(a == b for a, b in zip(said, true, strict=True)),
        "by_polarity": {
            polarity: precision_recall([p.get(polarity, frozenset()) for p in said], [p[polarity] for p in true])
            for polarity in ("positive", "negative", "open")
        },
    }


def precision_recall(said: Sequence[Pairs], true: Sequence[Pairs]) -> dict[str, dict[str, float] | None]:
    """Mean over answers of the share of what is said that is true, and of the share of what is true that is said.

    Answers that say nothing have no precision, and those with nothing to say no recall; such are left out of the mean. Where no answer is
    left there is no number (None).
    """
    right = [len(a & b) for a, b in zip(said, true, strict=True)]
    return {
        "precision": _mean(hits / len(a) for hits, a in zip(right, said, strict=True) if a),
        "recall": _mean(hits / len(b) for hits, b in zip(right, true, strict=True) if b),
    }


def _only(dictionaries: Sequence[Pairs], keys: Collection[str]) -> list[Pairs]:
    return [frozenset(pair for pair in pairs if pair[0] in keys) for pairs in dictionaries]


def _mean(values: Iterable[float]) -> dict[str, float] | None:
    array = np.array([float(value) for value in values])
    return interval_numbers(array) if len(array) else None


def write_card(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `card.json` and `README.md` of a checkpoint folder from its `training.json` and fresh measurements."""
    facts = {
        "name": "miniature vision-language model",
        "class": "transformers.Qwen2_5_VLForConditionalGeneration",
        "data": f"atelier {VERSION}, split pretrain",
    }
    write_checkpoint_card(folder, facts, metrics, readme)


def readme(card: dict[str, Any]) -> str:
    """The card in Markdown."""
    training, metrics = card["training"], card["metrics"]
    read, edits = metrics["dictionaries"], metrics["edits"]
    lines = [
        "# Miniature vision-language model",
        "",
        f"{training['parameters'] / 1e6:.1f} million parameters of transformers' `Qwen2_5_VLForConditionalGeneration`: pictures of 96 px,",
        "patches of 12, four merged into one, so 16 image tokens; a small vocabulary of our own with Qwen's special tokens.",
        "Weights in fp16.",
        f"**It knows drawn clothes and four prompts only**: for photographs use a public model such as `{PUBLIC_MODEL}`.",
        "",
        *_training_lines(card["data"], training),
        "",
        f"All numbers in percent with 95 % intervals: {metrics['pictures']:,} pictures of `test`, {metrics['queries']:,} queries of `val`.",
        "Edits and rewriting start from the reference's true dictionary or caption.",
        "",
        *_table(
            "task",
            ("well-formed", "exact", "precision", "recall", "nothing false"),
            {
                "dictionary of a picture": read,
                "caption of a picture": metrics["captions"],
                "rewritten caption": metrics["rewriting"],
                "edit": edits,
                **{f"edit, {polarity}": row for polarity, row in edits["by_polarity"].items()},
            },
        ),
        "",
        "Dictionaries key by key:",
        "",
        *_table("key", ("precision", "recall"), read["by_key"]),
    ]
    return "\n".join(lines) + "\n"


def _training_lines(data: str, training: dict[str, Any]) -> list[str]:
    recipe = training["recipe"]
    return [
        f"Trained from scratch on {recipe['pictures']:,} pictures of {data}: {recipe['tower_steps']:,} steps of {recipe['tower_batch']}",
        f"pictures for the vision tower, taught by the miniature CLIP, then {recipe['steps']:,} steps of {recipe['batch']} lessons with",
        f"and {recipe['texts']} without a picture. Beside other work it took {training['seconds'] / 60:.0f} minutes",
        f"on {training['device']} (threads: {training['threads']}, torch {training['torch']}).",
        "Remake it with `python -m cirlib.backbones.vlm_pretraining`, and this card with `python -m cirlib.vlm_card`.",
    ]


def _table(first: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = {"well-formed": "well_formed", "nothing false": "faithful"}
    lines = [f"| {first} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, row in rows.items():
        cells = (row.get(names.get(column, column)) for column in columns)
        lines.append(f"| {name} | {' | '.join(interval_cell(cell, 1, 100) for cell in cells)} |")
    return lines


def main() -> None:
    """Measure the shipped checkpoint and write its card."""
    folder = miniature_path("vlm")
    write_card(folder, measure(load_vlm(folder)))
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
