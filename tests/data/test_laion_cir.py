"""Laion-CIR's layouts, on small files in the released form."""

import json

import pytest
from PIL import Image

from cirlib.data.laion_cir import load_laion_cir
from cirlib.types import InputError

TEMPLATE = [
    {"ref_image_id": "306448", "relative_cap": "beds has been newly placed.", "tgt_image_id": "347794"},
    {"ref_image_id": 470430, "relative_cap": "add parking.", "tgt_image_id": 52},
]
LLM = {"20": {"tgt_image_id": "29529", "relative_cap": "Add a vase.", "tgt_cap": "A table with a vase."}}
IDS = ("0306448", "0347794", "0470430", "0000052", "0000020", "0029529")


@pytest.fixture
def root(tmp_path):
    files = tmp_path / "data" / "files"
    files.mkdir(parents=True)
    (files / "laion_template_info.json").write_text(json.dumps(TEMPLATE))
    (files / "laion_llm_info.json").write_text(json.dumps(LLM))
    for shade, image_id in enumerate(IDS):
        Image.new("RGBA" if shade % 2 else "RGB", (4, 3), (40 * shade, 0, 0)).save(tmp_path / f"{image_id}.png")
    return tmp_path


def load(root, part="combined", **options):
    return load_laion_cir(root, part, **{"check_counts": False} | options)


def test_both_parts_in_their_released_form(root):
    template, llm = load(root, "template"), load(root, "llm")
    assert [(t.reference, t.text, t.target) for t in template.triplets] == [
        ("0306448", "beds has been newly placed.", "0347794"),
        ("0470430", "add parking.", "0000052"),
    ]
    only = llm.triplets[0]
    assert (only.reference, only.target, only.target_caption, only.reference_caption) == ("0000020", "0029529", "A table with a vase.", "")
    assert template.images.open("0000052").getpixel((0, 0)) == (120, 0, 0)
    assert template.images.ids == tuple(sorted(IDS[:4]))


def test_combined_is_one_file_or_both_parts(root):
    both = load(root)
    assert both.triplets == load(root, "template").triplets + load(root, "llm").triplets
    (root / "laion_combined_info.json").write_text(json.dumps([{**TEMPLATE[1], "type": "template"}]))
    assert load(root).triplets == both.triplets[1:2]


def test_first_sentences_become_reference_captions(root):
    captions = root / "captions.json"
    captions.write_text(json.dumps({f"{i}.png": f"Picture {i}. It is red." for i in IDS}))
    assert load(root, captions=captions).triplets[2].reference_caption == "Picture 0000020"
    captions.write_text(json.dumps({"0306448.png": "A bed."}))
    with pytest.raises(InputError, match="reference '0470430' has no caption"):
        load(root, captions=captions)
    captions.write_text("[]")
    with pytest.raises(InputError, match="no object from picture file names to captions"):
        load(root, captions=captions)


def test_missing_pictures_are_counted(root):
    (root / "0000052.png").unlink()
    with pytest.raises(InputError, match=r"1 of 4 pictures of Laion-CIR template are not in .*'0000052'.*do without 1 triplets"):
        load(root, "template")
    with pytest.warns(UserWarning, match="1 of 2 triplets left out"):
        left = load(root, "template", allow_missing=True)
    assert len(left) == 1 and left.missing == ("0000052",)
    (root / "0306448.png").unlink()
    with pytest.raises(InputError, match="no triplet is left"):
        load(root, "template", allow_missing=True)


def test_copies_must_be_equal(root):
    (root / "llm").mkdir()
    copy = root / "llm" / "0306448.png"
    copy.write_bytes((root / "0306448.png").read_bytes())
    assert load(root, "template").images.open("0306448").size == (4, 3)
    Image.new("RGB", (4, 3), "blue").save(copy)
    with pytest.raises(InputError, match="'0306448' is there twice.*different content"):
        load(root, "template").images.open("0306448")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("template", {"a": 1}, "it must be a list of entries"),
        ("template", [{"ref_image_id": "x", "relative_cap": "a", "tgt_image_id": "1"}], "entry 0: field 'ref_image_id' is \"x\""),
        ("template", [{"ref_image_id": "1", "relative_cap": " ", "tgt_image_id": "1"}], "a text that is not empty"),
        ("llm", [], "holds list; it must be an object"),
        ("llm", {"x": {}}, "entry 0: 'x' given; it must be an image number"),
        ("llm", {"1": {"tgt_image_id": "2", "relative_cap": "a"}}, "entry 0: field 'tgt_cap' is absent"),
    ],
)
def test_what_is_malformed_is_named(root, name, content, complaint):
    (root / "data" / "files" / f"laion_{name}_info.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=complaint):
        load(root, name)


def test_counts_parts_and_places_are_checked(root, tmp_path):
    with pytest.raises(InputError, match="2 triplets, the official file has 16,000"):
        load_laion_cir(root, "template")
    with pytest.raises(InputError, match="part of Laion-CIR 'chatgpt' is unknown; choose one of combined, template, llm"):
        load(root, "chatgpt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no laion_template_info.json"):
        load(tmp_path / "empty")
