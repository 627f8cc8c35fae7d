"""Loading any OpenCLIP checkpoint, and what comes out of its towers."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_clip import CONTEXT, tiny_config, write_tiny_clip

from cirlib.backbones import clip_checkpoint
from cirlib.backbones.clip import Clip, load_clip
from cirlib.types import ImageSet, InputError

PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue", "white", "black")]


def test_plain_encoding_is_open_clips_own(any_tiny: Clip):
    pixels = torch.stack([any_tiny.transform(picture) for picture in PICTURES])
    texts = ["a red dress", "that", "that of a dress"]
    with torch.no_grad():
        torch.testing.assert_close(any_tiny.encode_images(PICTURES, batch_size=2), any_tiny.model.encode_image(pixels))
        torch.testing.assert_close(any_tiny.encode_texts(texts, batch_size=2), any_tiny.model.encode_text(any_tiny.tokenizer(texts)))


def test_same_numbers_as_open_clip_loading_the_folder_itself(tiny_folder: Path, tiny: Clip):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_folder}")
    picture = PICTURES[0]
    torch.testing.assert_close(tiny.transform(picture), transform(picture), rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(tiny.encode_images([picture]), model.eval().encode_image(transform(picture)[None]))


def test_an_image_set_is_encoded_in_its_order(tiny: Clip):
    images = ImageSet(("b", "a"), lambda i: PICTURES[" ab".index(i)], lambda i: i)
    torch.testing.assert_close(tiny.encode_images(images), tiny.encode_images([PICTURES[2], PICTURES[1]]))


def test_nothing_in_nothing_out(tiny: Clip):
    assert tiny.encode_images([]).shape == (0, 20) and tiny.encode_texts([]).shape == (0, 20)


def test_half_precision_weights_are_loaded_as_float32_and_frozen(tiny: Clip):
    assert {parameter.dtype for parameter in tiny.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters()) and not tiny.model.training


def test_hash_is_that_of_the_file_and_tells_weights_apart(tiny_folder: Path, tiny: Clip, tmp_path: Path):
    assert tiny.checkpoint_hash == hashlib.sha256((tiny_folder / "open_clip_model.safetensors").read_bytes()).hexdigest()
    other = load_clip(write_tiny_clip(tmp_path / "other", seed=1))
    assert other.checkpoint_hash != tiny.checkpoint_hash
    quick = load_clip(write_tiny_clip(tmp_path / "quick", quick_gelu=True))
    assert quick.checkpoint_hash == tiny.checkpoint_hash, "the same weights"
    assert quick.fingerprint() != tiny.fingerprint(), "in another architecture"


def test_properties(tiny: Clip):
    assert (tiny.image_size, tiny.context_length, tiny.embedding_dim, tiny.precision) == (32, CONTEXT, 20, "fp32")
    assert tiny.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert tiny.preset("targetpad").fingerprint != tiny.transform.fingerprint


@pytest.mark.parametrize("pool", ["tok", "avg"])
def test_image_tokens_hold_the_embedding(pool: str, tmp_path: Path):
    clip = load_clip(write_tiny_clip(tmp_path, vision={"pool_type": pool}))
    pixels = torch.stack([clip.transform(picture) for picture in PICTURES])
    tokens = clip.pixel_tokens(pixels)
    assert tokens.projected.shape == (5, 17, 20) and tokens.hidden.shape == (5, 17, 32)  # 4 by 4 patches and the class token
    torch.testing.assert_close(tokens.hidden @ clip.model.visual.proj, tokens.projected)
    embedding = tokens.projected[:, 0] if pool == "tok" else tokens.projected[:, 1:].mean(dim=1)
    torch.testing.assert_close(embedding, clip.encode_pixels(pixels))


def test_towers_without_plain_tokens_encode_and_say_so(tmp_path: Path):
    clip = load_clip(write_tiny_clip(tmp_path, vision={"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "head_width": 8}))
    assert clip.encode_images(PICTURES).shape == (5, 20)
    with pytest.raises(InputError, match="ModifiedResNet.*ViT tower"):
        clip.pixel_tokens(torch.zeros(1, 3, 32, 32))


def test_bfloat16_autocast_stays_close(tiny_folder: Path, tiny: Clip):
    rough = load_clip(tiny_folder, device="cpu", precision="bf16")
    cosine = torch.nn.functional.cosine_similarity(rough.encode_images(PICTURES), tiny.encode_images(PICTURES))
    assert rough.encode_images(PICTURES).dtype == torch.float32 and cosine.min() > 0.999
    assert rough.fingerprint() != tiny.fingerprint()


def test_long_texts_are_refused_or_counted(tiny: Clip):
    long = "that " * (CONTEXT - 2)
    assert tiny.count_tokens(long) == CONTEXT and not tiny.too_long(long) and tiny.too_long(long + "that")
    assert tiny.encode_texts([long]).shape == (1, 20)
    with pytest.raises(InputError, match="1 of 2 texts are too long.*17 tokens.*reads 16"):
        tiny.encode_texts(["that", long + "that"])
    with pytest.warns(UserWarning, match="1 of 2 texts are cut"):
        torch.testing.assert_close(tiny.encode_texts(["that", long + "that"], on_long="truncate")[1:], tiny.encode_texts([long]))


def without_config(folder: Path) -> None:
    (folder / "open_clip_config.json").unlink()


def without_weights(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()


def without_tokenizer(folder: Path) -> None:
    (folder / "bpe_simple_vocab.txt.gz").unlink()


def with_half_a_config(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 20}}')


def with_broken_json(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text("{")


def with_other_architecture(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny_config(vision={"layers": 3})}))


def with_cut_weights(folder: Path) -> None:
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def with_other_vocabulary(folder: Path) -> None:
    write_tiny_clip(folder, text={"vocab_size": 600})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_config, "holds no open_clip_config.json"),
        (without_weights, "holds no weights"),
        (without_tokenizer, "no tokenizer; bpe_simple_vocab.txt.gz"),
        (with_half_a_config, "lacks 'vision_cfg'"),
        (with_broken_json, "cannot be read as OpenCLIP's configuration"),
        (with_other_architecture, "does not fit"),
        (with_cut_weights, "does not fit"),
        (with_other_vocabulary, "524 tokens and the model 600"),
    ],
)
def test_wrong_folders_are_named_in_one_line(tiny_folder: Path, tmp_path: Path, damage: Callable[[Path], None], message: str):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_clip(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere/at/all", "neither a folder nor"), ("ViT-B-32", "ViT-B-32/laion2b_s34b_b79k"), ("ViT-B-32/none", "allowed: ViT-B-32/openai")],
)
def test_unknown_names_are_answered_with_known_ones(name: str, message: str):
    with pytest.raises(InputError, match=message):
        load_clip(name)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def absent(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    monkeypatch.setattr(clip_checkpoint, "hub_answers", lambda: False)


@pytest.mark.usefixtures("offline")
def test_missing_weights_offline_say_what_to_do():
    with pytest.raises(InputError, match="not on this machine and could not be downloaded.*give a folder"):
        load_clip("ViT-B-32/laion2b_s34b_b79k")


def test_public_names_use_the_activation_that_the_weights_were_trained_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(clip_checkpoint, "_fetch", lambda name, pretrained: tmp_path / "weights")
    assert clip_checkpoint.find_checkpoint("ViT-B-32/openai").model["quick_gelu"] is True
    assert clip_checkpoint.find_checkpoint("ViT-B/32/openai").architecture == "ViT-B-32"
    assert not clip_checkpoint.find_checkpoint("ViT-B-32/laion2b_s34b_b79k").model.get("quick_gelu")


def test_unknown_device_and_precision(tiny_folder: Path):
    with pytest.raises(InputError, match="device 'cuda:99'"):
        load_clip(tiny_folder, device="cuda:99")
    with pytest.raises(InputError, match="choose auto, fp32, bf16, fp16"):
        load_clip(tiny_folder, precision="int8")
