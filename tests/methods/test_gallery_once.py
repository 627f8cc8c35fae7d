import numpy as np
import torch

from cirlib.data.atelier import load_atelier
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines import Chance
from cirlib.methods.gallery_once import GalleryOnce


class Counting(Chance):
    """Counts its galleries; may turn each list around."""

    def __init__(self, turns=False):
        super().__init__()
        self.galleries = 0
        if turns:
            self.rerank, self.pool_size = lambda queries, pool, scores, gallery: torch.arange(pool.shape[1]).flip(0).expand_as(pool), 60

    def encode_gallery(self, images):
        self.galleries += 1
        return super().encode_gallery(images)


def test_it_answers_as_the_method_and_encodes_once():
    benchmark = load_atelier("val", 64, 6)
    for turns in (False, True):
        method = Counting(turns)
        plain = evaluate(method, benchmark)
        once = GalleryOnce(method)
        for _ in range(3):
            again = evaluate(once, benchmark)
            np.testing.assert_array_equal(again.top, plain.top)
        assert method.galleries == 2 and hasattr(once, "rerank") == turns and again.method == "chance"
        once.encode_gallery(benchmark.gallery.select(benchmark.gallery.ids[:5]))
        assert method.galleries == 3
