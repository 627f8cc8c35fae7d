"""What profile `full` runs: both stages, and evaluation on FashionIQ, CIRR and CIRCO, on small pictures in the official layouts.

Training data lie in Laion-CIR's layout; the CLIP is tiny and random, so numbers mean nothing. That every step runs, which sentences reach
the text tower, and that the servers' files are valid, is the point.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import load_clip
from cirlib.data.circo import load_circo
from cirlib.data.cirr import load_cirr
from cirlib.data.fashioniq import load_fashioniq
from cirlib.data.laion_cir import load_laion_cir
from cirlib.data.published import BENCHMARKS, load_published
from cirlib.evaluation.evaluate import evaluate
from cirlib.evaluation.submission import check_circo, check_cirr, write_circo, write_cirr, write_submission
from cirlib.kernels.reference import top_k
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.methods.map_to_compose.stage1 import train_stage1
from cirlib.methods.map_to_compose.stage2 import train_stage2
from cirlib.methods.map_to_compose.storage import load_map_to_compose, save_map_to_compose
from cirlib.methods.pseudo_words.fitting import Choice
from cirlib.methods.pseudo_words.prompts import compose_prompt
from cirlib.results import benchmark_key
from cirlib.viz.published import METRICS, public_estimates, public_table

pytestmark = pytest.mark.slow
COUNT = 56  # pictures of each benchmark: a submission lists 50, and CIRR leaves the reference out
SMALL = {"steps": 4, "batch": 4, "rate": 1e-2, "look_every": 2, "save_every": 2}


def draw(folder, names, suffix):
    """Random pictures of different sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(names[0]))
    for number, name in enumerate(names):
        pixels = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(8 + number % 3, 0).repeat(9, 1)
        Image.fromarray(pixels).save(folder / f"{name}{suffix}")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("official")


@pytest.fixture(scope="module")
def fashioniq(root):
    for category in ("dress", "shirt", "toptee"):
        names = [f"{category[:2].upper()}{i:08d}" for i in range(COUNT)]
        draw(root / "fashioniq/images", names, ".jpg")
        write(root / f"fashioniq/image_splits/split.{category}.val.json", names)
        entries = [
            {"candidate": names[0], "target": names[1], "captions": ["is red.", "has a belt"]},
            {"candidate": names[2], "target": names[3], "captions": ["is longer", "is blue and plain"]},
        ]
        write(root / f"fashioniq/captions/cap.{category}.val.json", entries)
    categories = ("dress", "shirt", "toptee")
    return [load_fashioniq(root / "fashioniq", name, caption_join="reverse", check_counts=False) for name in categories]


@pytest.fixture(scope="module")
def cirr(root):
    """The val and the test1 benchmark."""
    made = []
    for split, stem in (("val", "dev"), ("test1", "test1")):
        names = [f"{stem}-{i // 6}-{i % 6}-img0" for i in range(COUNT)]
        draw(root / "cirr/img_raw" / stem, names, ".png")
        write(root / f"cirr/image_splits/split.rc2.{split}.json", {name: f"./{stem}/{name}.png" for name in names})
        entries = [
            {"pairid": 12 + i, "reference": names[6 * i], "caption": f"show {i} dogs", "img_set": {"members": names[6 * i : 6 * i + 6]}}
            for i in range(3)
        ]
        if split == "val":
            entries = [entry | {"target_hard": names[6 * i + 2]} for i, entry in enumerate(entries)]
        write(root / f"cirr/captions/cap.rc2.{split}.json", entries)
        made.append(load_cirr(root / "cirr", split, check_counts=False))
    return made


@pytest.fixture(scope="module")
def circo(root):
    """The val and the test benchmark."""
    numbers = [1000 + 7 * i for i in range(COUNT)]
    draw(root / "circo/COCO2017_unlabeled/unlabeled2017", [f"{number:012d}" for number in numbers], ".jpg")
    entry = {"shared_concept": "a dog", "relative_caption": "is on a beach", "coco_image_sizes": None}
    val = {"id": 0, "reference_img_id": numbers[0], "target_img_id": numbers[3], "gt_img_ids": [numbers[5], numbers[3]], **entry}
    write(root / "circo/annotations/val.json", [val | {"semantic_aspects": ["addition"]}])
    write(root / "circo/annotations/test.json", [{"id": i, "reference_img_id": numbers[i], **entry} for i in range(2)])
    return [load_circo(root / "circo", split, check_counts=False) for split in ("val", "test")]


@pytest.fixture(scope="module")
def triplets(root):
    """Both parts of Laion-CIR, with captions as a multimodal model writes them."""
    rows = [{"ref_image_id": str(i), "relative_cap": f"add {i} beds.", "tgt_image_id": str(i + 1)} for i in range(6)]
    llm = {str(20 + i): {"tgt_image_id": str(i), "relative_cap": "Make it red.", "tgt_cap": "A red bed."} for i in range(3)}
    write(root / "laion/data/files/laion_template_info.json", rows)
    write(root / "laion/data/files/laion_llm_info.json", llm)
    names = [f"{i:07d}" for i in (*range(7), 20, 21, 22)]
    draw(root / "laion/images", names, ".png")
    write(root / "captions.json", {f"{name}.png": f"Picture {name} of a dress. It is red." for name in names})
    return load_laion_cir(root / "laion", captions=root / "captions.json", check_counts=False)


@pytest.fixture(scope="module")
def trained(root, triplets, cirr, tmp_path_factory):
    """Stage 1 and stage 2, weights chosen on CIRR val, saved and read back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        clip = load_clip(write_tiny_clip(root / "clip", text={"context_length": 77}), device="cpu")
        encoder = ClipEncoder(clip, cache=root / "features", progress=False)
        captions = {image_id: f"Picture {image_id} of a dress" for image_id in triplets.images.ids}
        chosen = Choice(cirr[0], lambda method, val: evaluate(method, val).mean("recall@1"))
        first = Stage1Recipe(**SMALL, hidden=8, heads=2, mapper_width=16)
        stage1 = train_stage1(first, encoder, triplets.images, captions, chosen, progress=False)
        second = Stage2Recipe(**SMALL, rank=4, negatives=2)
        stage2 = train_stage2(second, encoder, stage1.method.composer, triplets, chosen, progress=False)
        for stage in (stage1, stage2):
            assert len(stage.outcome.history) == 4 and set(stage.outcome.looks) == {0, 2, 4}
        folders = [save_map_to_compose(stage.method, root / name) for name, stage in (("stage1", stage1), ("stage2", stage2))]
        yield [load_map_to_compose(folder, encoder) for folder in folders]


def for_benchmark(method, benchmark):
    """The method with the sentence that belongs to a benchmark."""
    return MapToCompose(method.encoder, method.composer, method.name, compose_prompt(benchmark.name, "map-to-compose"))


def rankings(method, benchmark):
    """The whole gallery in order, for every query."""
    query, gallery = method.compose(benchmark.queries, benchmark.references), method.encode_gallery(benchmark.gallery)
    order, _ = top_k(query.rows, gallery.rows, len(gallery))
    return {query_id: [gallery.ids[row] for row in rows] for query_id, rows in zip(query.ids, order.tolist(), strict=True)}


def test_both_stages_are_scored_on_the_three_benchmarks(trained, fashioniq, cirr, circo):
    for method in trained:
        for benchmark in (*fashioniq, cirr[0], circo[0]):
            report = evaluate(for_benchmark(method, benchmark), benchmark)
            assert len(report.ranks) == len(benchmark.queries) and (report.ranks >= 1).all() and (report.ranks <= COUNT).all()
            wanted = {f"recall@{k}" for k in benchmark.protocol.recall_at} | {f"map@{k}" for k in benchmark.protocol.map_at}
            assert wanted <= set(report.per_query)
    assert {"recall_subset@1", "recall_subset@3"} <= set(evaluate(for_benchmark(trained[1], cirr[0]), cirr[0]).per_query)


def test_sentences_are_those_of_the_released_code(trained, fashioniq, cirr, circo, monkeypatch):
    said = {}

    def listen(self, texts, references, images):
        said[len(said)] = list(texts)
        return torch.ones(len(texts), self.encoder.clip.embedding_dim)

    monkeypatch.setattr(MapToCompose, "sentences", listen)
    for benchmark in (fashioniq[0], cirr[0], circo[0]):
        for_benchmark(trained[1], benchmark).compose(benchmark.queries, benchmark.references)
    assert said == {
        0: ["a photo of $ , that has a belt and is red", "a photo of $ , that is blue and plain and is longer"],  # second caption first
        1: [f"a photo of $ , that show {i} dogs" for i in range(3)],
        2: ["a photo of $ that is on a beach"],  # no comma, and the shared concept is left aside
    }


def test_files_for_the_servers_are_valid(trained, cirr, circo, tmp_path):
    for number, method in enumerate(trained):
        test1, hidden = for_benchmark(method, cirr[1]), for_benchmark(method, circo[1])
        ranked = rankings(test1, cirr[1])
        for metric, depth in (("recall", 50), ("recall_subset", 3)):
            path = write_cirr(tmp_path / f"{number}-{metric}.json", ranked, cirr[1], metric)
            document = json.loads(path.read_text())
            assert check_cirr(document, cirr[1], path.stat().st_size) == metric
            assert len(document["12"]) == depth and cirr[1].queries[0].reference not in document["12"]
        path = write_circo(tmp_path / f"{number}-circo.json", rankings(hidden, circo[1]), circo[1])
        check_circo(json.loads(path.read_text()), circo[1])


def test_tables_hold_ours_beside_published_numbers_and_servers_get_their_files(trained, fashioniq, cirr, circo, tmp_path):
    """What notebook 09 does in profile full."""
    rankings = {}
    for benchmark in (*fashioniq, cirr[0], circo[0]):
        for method in trained:
            report = evaluate(for_benchmark(method, benchmark), benchmark)
            rankings.setdefault(benchmark_key(report), []).append(report)
    assert set(rankings) == {"fashioniq-val-dress", "fashioniq-val-shirt", "fashioniq-val-toptee", "cirr-val", "circo-val"}
    for name in BENCHMARKS:
        ours = public_estimates(rankings, name, resamples=50)
        table = public_table(load_published(name), ours, "val")
        mine = table[table["who"] == "this repository"]
        assert set(mine["method"]) == {method.name for method in trained} and set(mine["split"]) == {"val"}
        assert all(METRICS[name][0] in values for values in ours.values())
    for hidden in (cirr[1], circo[1]):
        paths = write_submission(for_benchmark(trained[1], hidden), hidden, tmp_path)
        assert len(paths) == (2 if hidden.name == "cirr" else 1) and all(path.is_file() for path in paths)


def test_galleries_are_plain_clip_and_queries_stand_alone(trained, cirr):
    plain = trained[0].encoder.images(cirr[0].gallery)
    assert [method.composer.composing is None for method in trained] == [True, False]
    turned = cirr[0].queries[::-1]
    for method in trained:
        gallery = method.encode_gallery(cirr[0].gallery)
        assert gallery.ids == plain.ids and torch.equal(gallery.rows, plain.rows)
        rows = method.compose(cirr[0].queries, cirr[0].references).rows
        torch.testing.assert_close(method.compose(turned, cirr[0].references).rows.flip(0), rows, atol=1e-5, rtol=0)
