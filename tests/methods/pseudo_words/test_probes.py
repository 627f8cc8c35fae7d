import numpy as np
import pytest

from cirlib.methods.probes import Probe
from cirlib.methods.pseudo_words.mappers import Pic2WordMapper
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.probes import IMAGE, mean_hits, probe_sources, probed_features
from cirlib.types import InputError


def test_words_sentences_and_pictures_are_probed(encoder, pictures):
    found = probed_features(encoder, {"A": PseudoWordMethod(encoder, Pic2WordMapper(20, 24))}, pictures)
    assert {name: rows.shape for name, rows in found.items()} == {IMAGE: (12, 20), "A, word": (12, 24), "A, sentence": (12, 20)}
    labels = [{"side": "left" if i < 6 else "right"} for i in range(12)]
    probes = probe_sources(found, labels, found, labels)
    assert probes.keys() == found.keys() and probes[IMAGE]["side"].pictures == 12
    with pytest.raises(InputError, match="same sources"):
        probe_sources(found, labels, {IMAGE: found[IMAGE]}, labels)


def test_the_mean_over_attributes_leaves_out_what_does_not_apply():
    probes = {"a": Probe(0.5, 0.5, 2, np.array([1.0, np.nan, 0.0])), "b": Probe(1.0, 0.5, 3, np.array([0.0, 1.0, 0.0]))}
    np.testing.assert_allclose(mean_hits(probes), [0.5, 1.0, 0.0])
    with pytest.raises(InputError, match="no probes"):
        mean_hits({})
