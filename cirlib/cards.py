"""The card of the miniature CLIP: `python -m cirlib.cards` measures the shipped checkpoint and writes what it is.

`card.json` is read by `cirlib check`; `README.md` beside it says the same to people. Nothing on a card is written by hand.
"""

from pathlib import Path
from typing import Any

from cirlib._cards import write_checkpoint_card
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_checkpoint import PUBLIC_CHECKPOINT
from cirlib.backbones.miniature import miniature_path
from cirlib.card_numbers import floor_table, interval_numbers
from cirlib.data.atelier import VERSION, load_pictures
from cirlib.data.atelier.caption_retrieval import load_caption_retrieval
from cirlib.data.atelier.splits import picture
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines import TextOnly, expected_recall
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.zero_shot import attribute_hits, majority_share

PICTURES = 2048  # of `test` that zero-shot accuracy is measured on
GALLERY = 1024  # of `test` that captions search


def measure(encoder: ClipEncoder, pictures: int = PICTURES, gallery: int = GALLERY) -> dict[str, Any]:
    """Zero-shot accuracy per attribute and text-to-image recall on `test`, as fractions with 95 % intervals, beside chance."""
    images = load_pictures("test", pictures)
    designs = [picture("test", index).design for index in range(pictures)]
    hits = attribute_hits(encoder, encoder.images(images).rows, designs)
    accuracy = {name: interval_numbers(values, majority=majority_share(designs, name)) for name, values in hits.items()}
    report = evaluate(TextOnly(encoder), load_caption_retrieval("test", gallery))
    recall = {f"recall@{k}": interval_numbers(report.per_query[f"recall@{k}"], chance=expected_recall(k, gallery)) for k in (1, 10)}
    return {"pictures": pictures, "accuracy": accuracy, "gallery": gallery, "captions": len(report.query_ids), "text_to_image": recall}


def write_card(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `card.json` and `README.md` of a checkpoint folder from its `training.json` and fresh measurements."""
    facts = {"name": "miniature CLIP", "class": "open_clip.CLIP", "data": f"atelier {VERSION}, split pretrain"}
    write_checkpoint_card(folder, facts, metrics, _readme)


def _readme(card: dict[str, Any]) -> str:
    training, metrics = card["training"], card["metrics"]
    return "\n".join(
        [
            "# Miniature CLIP",
            "",
            f"{training['parameters'] / 1e6:.1f} million parameters of OpenCLIP's own `CLIP` class: ViT at 96 px in patches of 12, a text",
            "tower with CLIP's 77 tokens and a small vocabulary of our own, a joint space of 192 dimensions. Weights in fp16.",
            f"**It knows drawn clothes only**: for photographs use a public checkpoint such as `{PUBLIC_CHECKPOINT}`.",
            "",
            *_training_lines(card["data"], training),
            "",
            f"Zero-shot accuracy on {metrics['pictures']:,} pictures of `test`, percent; prompts worded like the captions of the training.",
            "",
            *floor_table("attribute", "accuracy", "always the most frequent value", metrics["accuracy"], "majority"),
            "",
            f"Text to image on `test`: {metrics['captions']:,} full captions search {metrics['gallery']:,} pictures, percent.",
            "",
            *floor_table("metric", "recall", "chance", metrics["text_to_image"], "chance"),
            "",
        ]
    )


def _training_lines(data: str, training: dict[str, Any]) -> list[str]:
    recipe = training["recipe"]
    return [
        f"Trained from scratch on {recipe['pictures']:,} pictures of {data}: {recipe['steps']:,} steps of {recipe['batch']} pictures,",
        f"{training['seconds'] / 60:.0f} minutes on {training['device']} with {training['threads']} threads, torch {training['torch']}.",
        "Remake it with `python -m cirlib.backbones.clip_pretraining`, and this card with `python -m cirlib.cards`.",
    ]


def main() -> None:
    """Measure the shipped checkpoint and write its card."""
    folder = miniature_path("clip")
    write_card(folder, measure(ClipEncoder(load_clip(folder))))
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
