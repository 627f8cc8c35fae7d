"""What profile `full` runs, on a folder of photographs of different sizes with tiny checkpoints in public formats: nothing of atelier's.

Random weights write nonsense, so the numbers mean nothing; that every step runs, whatever is written, is the point.
"""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiny_clip import write_tiny_clip
from tiny_v_dict_ae import tiny_models, tiny_recipe

from cirlib.backbones.clip import load_clip
from cirlib.data.folder import load_folder
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines import CaptionRewrite, caption_with, rewrite_with
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pix2key.extraction import DictionaryExtractor
from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
from cirlib.methods.pix2key.model_parser import ModelParser
from cirlib.methods.pix2key.slot_writer import SlotWriter
from cirlib.methods.pix2key.v_dict_ae_training import load_v_dict_ae, train_v_dict_ae

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*texts? (is|are) cut")]  # random weights write at length
COUNT = 6


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (5, 4, 3), np.uint8).repeat(10 + number, 0).repeat(12, 1)
        Image.fromarray(pixels).save(root / f"{number}.png")
    table = root.parent / "queries.csv"
    table.write_text("reference,text,target\n0.png,is red and has no belt,1.png\n2.png,is longer,3.png\n")
    loaded = load_folder(root, table)
    return replace(loaded, protocol=replace(loaded.protocol, recall_at=(1, COUNT - 1)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    clip = load_clip(write_tiny_clip(folder / "clip", text={"context_length": 77}), device="cpu")
    return ClipEncoder(clip, cache=folder / "cache", progress=False), *tiny_models(folder)


def test_dictionaries_captions_and_slots_of_a_folder(benchmark, models, tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    encoder, vlm, diffusion = models
    extractor = DictionaryExtractor(vlm, progress=False)
    parser = ModelParser(vlm, progress=False)
    options = Pix2KeyOptions(diversity=0.3, pool=COUNT - 1, select=COUNT - 1)
    captions, rewrite = caption_with(vlm, progress=False), rewrite_with(vlm, progress=False)
    trained = train_v_dict_ae(tiny_recipe(input_size=48), vlm, diffusion, benchmark.gallery, folder=tmp_path / "trained", progress=False)
    slots = DictionaryExtractor(None, write=SlotWriter(load_v_dict_ae(tmp_path / "trained", vlm), progress=False))
    methods = [Pix2Key(encoder, extractor, parser, options), Pix2Key(encoder, slots, parser, options, "with slots")]
    methods.append(CaptionRewrite(encoder, captions, rewrite, "captions"))
    for report in (evaluate(method, benchmark) for method in methods):
        assert len(report.ranks) == 2 and (report.ranks >= 1).all() and (report.ranks <= COUNT - 1).all()
    assert sum(extractor.outcomes.values()) >= COUNT and sum(parser.outcomes.values()) >= 2
    assert len(trained.history) == trained.model.recipe.steps
