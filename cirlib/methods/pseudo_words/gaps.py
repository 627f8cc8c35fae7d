"""From training to searching: how far "a photo of $ that is red" lies from the "a photo of $" that a mapper was trained in.

Our choice of distances: 1 - cosine, in [0, 2], one number per query, so that intervals are over queries.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cirlib.backbones.clip_text import fill_template
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.prompts import TRAINING
from cirlib.types import Benchmark, InputError

TRAINED_TO_SEARCHED = "from training to searching"  # between the two sentences
TRAINED_TO_REFERENCE = "training sentence to reference"
SEARCHED_TO_REFERENCE = "search sentence to reference"
SEARCHED_TO_TARGET = "search sentence to target"
TRAINED_TO_TARGET = "training sentence to target"


def turns(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[np.ndarray, " n"]:
    """1 - cosine of the rows with the same number; in [0, 2], 0 for the same direction.

    Example:
        >>> turns(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])).tolist()
        [1.0]
    """
    if first.shape != second.shape:
        raise InputError(f"rows of shape {tuple(first.shape)} beside {tuple(second.shape)}; a distance is between rows of equal number")
    return (1 - torch.cosine_similarity(first.double(), second.double(), dim=-1)).cpu().numpy()


def sentence_gaps(method: PseudoWordMethod, benchmark: Benchmark) -> dict[str, Float[np.ndarray, " q"]]:
    """Distances per query between the training sentence, the search sentence, the reference image and the target.

    A search sentence that was understood lies nearer to the target than the training sentence does; one that is merely unlike what the
    mapper was trained in lies farther from both pictures.

    Args:
        method: Its template makes the search sentences.
        benchmark: Every query must have its target in the gallery.

    Raises:
        InputError: If a target is hidden or missing.
    """
    queries, gallery = benchmark.queries, benchmark.gallery
    references = [query.reference for query in queries]
    trained = method.sentences([TRAINING] * len(queries), references, benchmark.references)
    searched = method.sentences([fill_template(method.template, query.text) for query in queries], references, benchmark.references)
    sources = _rows(method, benchmark.references.select(dict.fromkeys(references)), references)
    targets = _rows(method, gallery.select(dict.fromkeys(query.target for query in queries)), [query.target for query in queries])
    return {
        TRAINED_TO_SEARCHED: turns(trained, searched),
        TRAINED_TO_REFERENCE: turns(trained, sources),
        SEARCHED_TO_REFERENCE: turns(searched, sources),
        TRAINED_TO_TARGET: turns(trained, targets),
        SEARCHED_TO_TARGET: turns(searched, targets),
    }


def _rows(method: PseudoWordMethod, images, ids: Sequence[str]) -> Float[Tensor, "n d"]:
    rows = method.encode_gallery(images).rows
    return rows[[images.rows[image_id] for image_id in ids]]
