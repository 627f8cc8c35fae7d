"""The world of dictionaries as a collection, with the methods that need no training."""

import pytest
from dictionary_world import Reader, WordEncoder, images

from cirlib.explore.collection import Collection
from cirlib.explore.session import Explorer
from cirlib.methods.baselines import ImageOnly, TextOnly, WeightedSum
from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
from cirlib.methods.pix2key.rule_parser import RuleParser


class Words(WordEncoder):
    fingerprint = {"words": "1"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def collection() -> Collection:
    world = images()
    return Collection("world", world, world.opener, "A note.")


@pytest.fixture
def explorer(collection) -> Explorer:
    encoder = Words()
    pix2key = Pix2Key(encoder, Reader(), RuleParser(), Pix2KeyOptions(alpha=0.6, beta=0.5), "Pix2Key")
    methods = {method.name: method for method in (ImageOnly(encoder), TextOnly(encoder), WeightedSum(encoder, 0.3), pix2key)}
    return Explorer(collection, methods, {"QuRe": "QuRe is not trained; run notebook 06"})
