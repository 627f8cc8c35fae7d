"""Which part of a picture a written fact depends on: hide a part, and see how much less likely the model finds what it wrote.

Occlusion (Zeiler and Fergus, 2014) applied to dictionaries; our own choice, the paper has no such analysis. The facts are those of the
whole picture. A fact is its key and its value together, since details are named where they are seen and left out elsewhere. With a part
hidden, each fact is scored given the facts before it, so one that follows from an earlier one needs no part.
"""

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image

from cirlib.backbones.vlm import VisionLanguageModel
from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.types import InputError

CATEGORY = "category"
_OBJECT = re.compile(r'^\s*\{\s*"([^"]+)"\s*:\s*\{')
_FACT = re.compile(r'"([^"]+)"\s*:\s*"([^"]+)"')


@dataclass(frozen=True)
class Occlusion:
    """What hiding parts of one picture does to its dictionary.

    Attributes:
        answer: What the model wrote about the whole picture.
        values: Key to value, as written; the object is the value of "category".
        drops: Key to (g, g): how much the log-probability of the fact falls, in nats, with the square around each cell hidden.
    """

    answer: str
    values: dict[str, str]
    drops: dict[str, np.ndarray]


def occlusion(vlm: VisionLanguageModel, image: Image.Image, grid: int = 8, *, reach: int = 1, batch: int = 64) -> Occlusion:
    """Hide a square of a picture, place by place, and score the picture's own dictionary each time.

    Args:
        vlm: Writes and scores; of the Qwen2.5-VL class.
        image: The picture.
        grid: Cells a side.
        reach: Cells to each side of the middle one that are hidden with it: 1 hides three by three cells.
        batch: Pictures a pass.

    Returns:
        Drops of every fact; what is hidden is painted in the median colour of the picture's rim, which on a plain ground removes it.

    Raises:
        InputError: If the grid has fewer than two cells a side, or the answer holds no fact.
    """
    if not 2 <= grid <= min(image.size):
        raise InputError(f"a grid of {grid} cells a side given for a picture of {image.size} pixels; use 2 or more, and a pixel a cell")
    (answer,) = vlm.write([image], DICTIONARY_PROMPT.text)
    spans = fact_spans(answer)
    if not spans:
        raise InputError(f"the answer {answer[:60]!r} holds no fact to explain; use a model that writes dictionaries")
    found = []
    hidden = [image, *(hide(image, row, column, grid, reach) for row in range(grid) for column in range(grid))]
    for start in range(0, len(hidden), batch):
        part = hidden[start : start + batch]
        logits, _, tokens = vlm.answer_logits_from_images(part, DICTIONARY_PROMPT.text, [answer] * len(part))
        logs = logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        found.append(_sums(logs.cpu(), _token_owner(vlm, answer, spans), len(spans)))
    scores = torch.cat(found).double().numpy()  # (1 + g * g, facts)
    drops = (scores[0] - scores[1:]).reshape(grid, grid, len(spans))
    return Occlusion(answer, fact_values(answer), dict(zip(spans, np.moveaxis(drops, 2, 0), strict=True)))


def fact_spans(answer: str) -> dict[str, tuple[int, int]]:
    """Where each fact stands in an answer of one object, from its key to the end of its value; the first of equal keys counts.

    Example:
        >>> fact_spans('{"dress":{"color":"red"}}')
        {'category': (2, 7), 'color': (11, 22)}
    """
    first = _OBJECT.match(answer)
    spans = {CATEGORY: first.span(1)} if first else {}
    for fact in _FACT.finditer(answer):
        spans.setdefault(fact[1], (fact.start(1), fact.end(2)))
    return spans


def fact_values(answer: str) -> dict[str, str]:
    """Key to value of each fact of an answer; the object is the value of "category".

    Example:
        >>> fact_values('{"dress":{"color":"red"}}')
        {'category': 'dress', 'color': 'red'}
    """
    first = _OBJECT.match(answer)
    values = {CATEGORY: first[1]} if first else {}
    for fact in _FACT.finditer(answer):
        values.setdefault(fact[1], fact[2])
    return values


def hide(image: Image.Image, row: int, column: int, grid: int, reach: int = 1) -> Image.Image:
    """The picture with the square around one cell painted in the median colour of its rim."""
    pixels = np.asarray(image.convert("RGB")).copy()
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    edges = [np.linspace(0, side, grid + 1).round().astype(int) for side in pixels.shape[:2]]
    rows, columns = (
        slice(edge[max(0, at - reach)], edge[min(grid, at + reach + 1)]) for edge, at in zip(edges, (row, column), strict=True)
    )
    pixels[rows, columns] = np.median(rim, axis=0)
    return Image.fromarray(pixels)


def _token_owner(vlm: VisionLanguageModel, answer: str, spans: dict[str, tuple[int, int]]) -> Int[torch.Tensor, " t"]:
    """Which fact each token of the answer belongs to, by overlap; -1 for none. The last token ends the turn."""
    places = vlm.tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    owner = [-1] * (len(places) + 1)
    for token, (start, end) in enumerate(places):
        for fact, (first, last) in enumerate(spans.values()):
            if start < last and end > first:
                owner[token] = fact
    return torch.tensor(owner)


def _sums(logs: Float[torch.Tensor, "b t"], owner: Int[torch.Tensor, " t"], facts: int) -> Float[torch.Tensor, "b f"]:
    return torch.stack([logs[:, owner == fact].sum(1) for fact in range(facts)], 1)
