"""From edits to triplets: the target is the picture whose caption is most like the caption that the edit asks for.

That is TransAgg's idea (Liu et al. 2023) on any captioned pictures. The most similar caption need not be a right one, so triplets that
are made here are as good as the captions, the edit and the similarity together; `triplets.triplet_quality` measures them.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.data.triplets import Triplet
from cirlib.methods.map_to_compose.triplet_templates import Proposal, template_proposals
from cirlib.types import InputError

EmbedTexts = Callable[[Sequence[str]], Tensor]  # n texts to unit rows (n, d), such as `ClipEncoder.texts`
Rewrite = Callable[[Sequence[str], Sequence[str]], Sequence[str]]  # captions and modification texts to captions of the targets
_WORD = re.compile(r"[a-z0-9]+")
_CHUNK = 1024  # proposals compared at once


def word_overlap(captions: Sequence[str], width: int = 4096) -> EmbedTexts:
    """Similarity by common words: the cosine of sets of words, rare words weighing more (inverse document frequency over `captions`).

    Words are hashed to `width` columns; those that share one count as the same word. A text without known words has a zero row.

    Args:
        captions: What frequencies are counted over.
        width: Columns.

    Example:
        >>> rows = word_overlap(["a red dress", "a blue dress"])(["a red dress", "red dress", "blue"])
        >>> [round(float(rows[0] @ row), 2) for row in rows]
        [1.0, 0.94, 0.0]
    """
    seen = Counter(word for caption in captions for word in set(_WORD.findall(caption.lower())))
    weights = {word: math.log((1 + len(captions)) / count) for word, count in seen.items()}

    def embed(texts: Sequence[str]) -> Float[Tensor, "n d"]:
        rows = torch.zeros(len(texts), width)
        for row, text in zip(rows, texts, strict=True):
            for word in sorted(set(_WORD.findall(text.lower()))):
                column = zlib.crc32(word.encode()) % width
                row[column] = max(float(row[column]), weights.get(word, 0.0))
        return normalize(rows, dim=-1)

    return embed


def retrieve_targets(
    proposals: Sequence[Proposal], captions: Mapping[str, str], embed: EmbedTexts, keep: int | None = None
) -> tuple[Triplet, ...]:
    """Give every proposal the picture whose caption is nearest to the target caption, among those not captioned like its reference.

    A picture that has the reference's own caption shows what the reference shows, so it cannot be what an edit asks for (our choice;
    without it, an edit that the language model overlooks finds the reference's twins). Similarities are compared in fp32; ties go to the
    picture that comes first in `captions`.

    Args:
        proposals: With target captions.
        captions: Image id to caption of every picture that may be a target; references are among them.
        embed: Texts to unit rows; the similarity is the cosine.
        keep: Triplets to keep, those whose target was found at the highest similarity (earlier ones among equals); None keeps all.

    Returns:
        One triplet per proposal that is kept, in order. `target_caption` is what was asked for, not what the picture found was called.

    Raises:
        InputError: If a proposal has no target caption or names an unknown reference, or all captions are the same.
    """
    ids = tuple(captions)
    alike: dict[str, list[int]] = {}
    for row, caption in enumerate(captions.values()):
        alike.setdefault(caption, []).append(row)
    if len(alike) < 2:
        raise InputError(f"{len(ids)} captioned pictures with {len(alike)} different captions given; a target needs a second caption")
    for proposal in proposals:
        if not proposal.target_caption or proposal.reference not in captions:
            raise InputError(f"the edit {proposal.text!r} of {proposal.reference!r} lacks a target caption, or its picture has no caption")
    if keep is not None and not 0 <= keep <= len(proposals):
        raise InputError(f"{keep} of {len(proposals)} edits are to be kept; keep 0 to {len(proposals)}")
    gallery = embed(list(captions.values())).float()
    best, rows = [], []
    for start in range(0, len(proposals), _CHUNK):
        part = proposals[start : start + _CHUNK]
        scores = embed([proposal.target_caption for proposal in part]).float() @ gallery.T  # (r, n)
        for score, proposal in zip(scores, part, strict=True):
            score[alike[captions[proposal.reference]]] = -torch.inf
        top = scores.max(1)
        best += top.values.tolist()
        rows += top.indices.tolist()
    kept = sorted(sorted(range(len(proposals)), key=lambda i: (-best[i], i))[:keep])
    return tuple(_triplet(proposals[i], ids[rows[i]], captions) for i in kept)


def _triplet(proposal: Proposal, target: str, captions: Mapping[str, str]) -> Triplet:
    return Triplet(proposal.reference, proposal.text, target, captions[proposal.reference], proposal.target_caption, proposal.edit)


def template_triplets(
    captions: Mapping[str, str], count: int, embed: EmbedTexts | None = None, seed: int = 0, drawn: int = 1
) -> tuple[Triplet, ...]:
    """Low quality: captions edited by template, targets by caption similarity.

    Args:
        captions: Image id to caption, of training pictures only.
        count: Triplets.
        embed: See `retrieve_targets`; common words by default.
        seed: Of the choice of pictures and edits.
        drawn: Edits drawn for each triplet that is kept: 1 keeps every edit; with more, those that find a similar caption.
    """
    proposals = template_proposals(captions, count * drawn, seed)
    return retrieve_targets(proposals, captions, embed or word_overlap(tuple(captions.values())), count)


def rewrite_proposals(proposals: Sequence[Proposal], captions: Mapping[str, str], rewrite: Rewrite) -> tuple[Proposal, ...]:
    """The same edits, with target captions written by a language model from the reference's caption and the modification text.

    An empty answer leaves caption and text side by side (our choice), so that no edit is lost.
    """
    before = [captions[proposal.reference] for proposal in proposals]
    answers = rewrite(before, [proposal.text for proposal in proposals])
    return tuple(
        replace(proposal, target_caption=answer.strip() or f"{caption}, {proposal.text}")
        for proposal, caption, answer in zip(proposals, before, answers, strict=True)
    )


def language_model_triplets(
    proposals: Sequence[Proposal],
    captions: Mapping[str, str],
    rewrite: Rewrite,
    embed: EmbedTexts | None = None,
    keep: int | None = None,
) -> tuple[Triplet, ...]:
    """Edits put into target captions by a language model, targets by caption similarity.

    Args:
        proposals: Sampled edits: `template_proposals`, or `triplet_atelier.atelier_proposals` in the words of atelier's own grammar.
        captions: Image id to caption, of training pictures only.
        rewrite: See `triplet_language.rewrite_with_vlm`.
        embed: See `retrieve_targets`; common words by default.
        keep: See `retrieve_targets`.
    """
    written = rewrite_proposals(proposals, captions, rewrite)
    return retrieve_targets(written, captions, embed or word_overlap(tuple(captions.values())), keep)
