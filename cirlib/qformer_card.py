"""The card of the miniature Q-Former: `python -m cirlib.qformer_card` measures the shipped checkpoint and writes what it is.

Pictures of `test` are read by prompts, searched by captions and matched with captions; queries of `val` are composed by the joint branch as
it comes out of the pretraining, which never composed anything: what training on edits starts from. `card.json` is read by `cirlib check`;
`README.md` says the same to people. Nothing on a card is written by hand.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib._cards import write_checkpoint_card
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.backbones.qformer_cache import VisionTokens, encode_vision_tokens
from cirlib.backbones.qformer_checkpoint import PUBLIC_QFORMER
from cirlib.card_numbers import floor_table, interval_numbers
from cirlib.data.atelier import VERSION, load_atelier, load_pictures
from cirlib.data.atelier.caption_retrieval import load_caption_retrieval
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.prompts import value_phrases
from cirlib.data.atelier.schema import ATTRIBUTES, Design
from cirlib.data.atelier.splits import generator, picture
from cirlib.evaluation.evaluate import evaluate_embeddings
from cirlib.methods.baselines import expected_recall
from cirlib.methods.zero_shot import majority_share
from cirlib.types import Benchmark, Embeddings

PICTURES = 2048  # of `test` that are read and matched
GALLERY = 1024  # of `test` that captions search
SEARCHED, QUERIES = 1920, 1000  # of `val`
BATCH = 256


@torch.no_grad()
def measure(
    qformer: QFormer, pictures: int = PICTURES, gallery: int = GALLERY, searched: int = SEARCHED, queries: int = QUERIES
) -> dict[str, Any]:
    """Everything on the card, as fractions with 95 % intervals, beside the level that takes no skill."""
    designs = [picture("test", index).design for index in range(pictures)]
    vision = encode_vision_tokens(qformer, load_pictures("test", pictures))
    tokens = _in_batches(lambda ids: qformer.image_tokens(vision.rows(ids)), vision.ids)
    captions, edits = load_caption_retrieval("test", gallery), load_atelier("val", searched, queries)
    asked = _in_batches(qformer.text_embedding, [query.text for query in captions.queries])
    found = encode_vision_tokens(qformer, edits.gallery)
    shown = _in_batches(lambda ids: qformer.image_tokens(found.rows(ids)), found.ids)
    composed = _in_batches(
        lambda part: qformer.joint_query(found.rows([query.reference for query in part]), [query.text for query in part]), edits.queries
    )
    return {
        "pictures": pictures,
        "accuracy": {
            name: interval_numbers(hits, majority=majority_share(designs, name)) for name, hits in read(qformer, tokens, designs).items()
        },
        "matching": interval_numbers(match(qformer, vision, designs), chance=0.5),
        "gallery": gallery,
        "captions": len(captions.queries),
        "text_to_image": _recall(captions, asked, Embeddings(captions.gallery.ids, tokens[:gallery])),
        "searched": searched,
        "queries": len(edits.queries),
        "composed": _recall(edits, composed, Embeddings(found.ids, shown)),
    }


def read(qformer: QFormer, tokens: Float[Tensor, "n m d"], designs: Sequence[Design]) -> dict[str, Float[np.ndarray, " n"]]:
    """Per attribute and picture 1 where its best token is nearest to the prompts of the right value, 0 where not, NaN where it has none.

    The row of a value is the mean over its prompts, at unit length.
    """
    hits = {}
    for name in (name for name in ATTRIBUTES if any(name in design for design in designs)):
        values = ATTRIBUTES[name].values
        rows = normalize(torch.stack([qformer.text_embedding(value_phrases(name, value)).mean(0) for value in values]), dim=-1)
        nearest = torch.einsum("nmd,pd->nmp", tokens, rows.cpu()).amax(1).argmax(1).tolist()
        right = [np.nan if name not in d else float(d[name] == values[place]) for d, place in zip(designs, nearest, strict=True)]
        hits[name] = np.array(right)
    return hits


def match(qformer: QFormer, vision: VisionTokens, designs: Sequence[Design]) -> Float[np.ndarray, " n"]:
    """1 where the matching head prefers a picture's full caption to that of the next picture of another design, mostly a sibling."""
    texts = [caption(generator("test", index, 3), design, tuple(design)) for index, design in enumerate(designs)]
    # The last pictures have none after them and take the first one.
    others = [next((j for j in range(i + 1, len(designs)) if designs[j] != designs[i]), 0) for i in range(len(designs))]

    def prefers(rows: Sequence[int]) -> Tensor:
        tokens = vision.rows([vision.ids[row] for row in rows])
        own, other = (qformer.matching_logits(tokens, part) for part in ([texts[r] for r in rows], [texts[others[r]] for r in rows]))
        return ((own - other) @ torch.tensor([-1.0, 1.0], device=own.device) > 0).float()

    return _in_batches(prefers, range(len(designs))).numpy().astype(np.float64)


def _in_batches(encode: Any, items: Sequence[Any]) -> Tensor:
    return torch.cat([encode(items[start : start + BATCH]).cpu() for start in range(0, len(items), BATCH)])


def _recall(benchmark: Benchmark, rows: Tensor, gallery: Embeddings) -> dict[str, dict[str, float]]:
    ids = tuple(query.id for query in benchmark.queries)
    report = evaluate_embeddings("miniature Q-Former", Embeddings(ids, rows), gallery, benchmark)
    return {f"recall@{k}": interval_numbers(report.per_query[f"recall@{k}"], chance=expected_recall(k, len(gallery))) for k in (1, 10)}


def write_card(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `card.json` and `README.md` of a checkpoint folder from its `training.json` and fresh measurements."""
    facts = {
        "name": "miniature Q-Former",
        "class": "transformers.Blip2ForImageTextRetrieval",
        "data": f"atelier {VERSION}, split pretrain",
    }
    write_checkpoint_card(folder, facts, metrics, readme)


def readme(card: dict[str, Any]) -> str:
    """The card in Markdown."""
    training, metrics = card["training"], card["metrics"]
    recipe = training["recipe"]
    lines = [
        "# Miniature Q-Former",
        "",
        f"{training['parameters'] / 1e6:.1f} million parameters of transformers' `Blip2ForImageTextRetrieval`: a ViT at 96 px in patches",
        "of 12, a Q-Former of 8 query tokens that reads 64 word pieces, each a word of atelier, and a joint space of 128 dimensions.",
        f"Weights in fp16; the temperature learnt is {training['temperature']}, for which the class has no place.",
        f"**It knows drawn clothes only**: for photographs use a public checkpoint such as `{PUBLIC_QFORMER}`.",
        "",
        f"Trained from scratch on {recipe['pictures']:,} pictures of {card['data']}: {recipe['steps']:,} steps of",
        f"{recipe['batch']} pictures, {recipe['matched']} of them in the matching loss too, in {training['seconds'] / 60:.0f} minutes on",
        f"{training['device']} with {training['threads']} threads, torch {training['torch']}.",
        "Remake it with `python -m cirlib.backbones.qformer_pretraining`, and this card with `python -m cirlib.qformer_card`.",
        "",
        f"Zero-shot accuracy on {metrics['pictures']:,} pictures of `test`, percent; prompts worded like the captions of the training.",
        "",
        *floor_table("attribute", "accuracy", "always the most frequent value", metrics["accuracy"], "majority"),
        "",
        f"Text to image on `test`: {metrics['captions']:,} full captions search {metrics['gallery']:,} pictures, percent. Matching:",
        "the head tells a picture's full caption from that of the next picture of another design, mostly a relative.",
        "",
        *floor_table("metric", "share", "chance", {**metrics["text_to_image"], "matching": metrics["matching"]}, "chance"),
        "",
        f"The joint branch, never trained to compose, on `val`: {metrics['queries']:,} edits search {metrics['searched']:,} pictures,",
        "percent.",
        "",
        *floor_table("metric", "recall", "chance", metrics["composed"], "chance"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the shipped checkpoint and write its card."""
    folder = miniature_path("qformer")
    write_card(folder, measure(load_qformer(folder)))
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
