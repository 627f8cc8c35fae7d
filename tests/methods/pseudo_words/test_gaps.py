import numpy as np
import pytest
import torch

from cirlib.methods.pseudo_words import gaps
from cirlib.methods.pseudo_words.mappers import Pic2WordMapper
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.sentence import pseudo_sentences
from cirlib.types import InputError


def test_distances_are_between_the_sentences_and_pictures_of_each_query(encoder, val, pictures):
    method = PseudoWordMethod(encoder, Pic2WordMapper(20, 24).eval())
    found = gaps.sentence_gaps(method, val)
    rows = encoder.images(pictures).rows
    for i, query in enumerate(val.queries):
        word = method.words(pictures.select([query.reference]))
        texts = {"t": "a photo of $", "s": f"a photo of $ that {query.text}"}
        said = {name: pseudo_sentences(encoder.clip, [text], word)[0] for name, text in texts.items()}
        pairs = {
            gaps.TRAINED_TO_SEARCHED: (said["t"], said["s"]),
            gaps.TRAINED_TO_REFERENCE: (said["t"], rows[i]),
            gaps.SEARCHED_TO_REFERENCE: (said["s"], rows[i]),
            gaps.TRAINED_TO_TARGET: (said["t"], rows[i + 1]),
            gaps.SEARCHED_TO_TARGET: (said["s"], rows[i + 1]),
        }
        for kind, (a, b) in pairs.items():
            assert found[kind][i] == pytest.approx(1 - torch.cosine_similarity(a, b, dim=0).item(), abs=1e-5), kind
    assert found.keys() == pairs.keys()


def test_turns_run_from_0_to_2():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    y = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    np.testing.assert_allclose(gaps.turns(x, y), [0, 1, 2])
    with pytest.raises(InputError, match="equal number"):
        gaps.turns(x, y[:2])
