import torch

from cirlib.methods.pseudo_words.features import clip_tokens, image_features


def test_image_features_are_what_the_tower_gives(encoder, pictures):
    rows = image_features(encoder, pictures)
    torch.testing.assert_close(rows, encoder.clip.encode_images(pictures), atol=1e-5, rtol=1e-4)
    assert (rows.norm(dim=-1) - 1).abs().max() > 0.01  # not normalised


def test_tokens_are_kept_in_half_precision_and_read_again(encoder, pictures, tmp_path, monkeypatch):
    tokens = clip_tokens(encoder.clip, pictures, tmp_path / "t", batch_size=5, progress=False)
    rows = tokens.rows([pictures.ids[3], pictures.ids[0]])
    pixels = torch.stack([encoder.transform(pictures.open(i)) for i in (pictures.ids[3], pictures.ids[0])])
    assert rows.dtype == torch.float16 and rows.shape == (2, 17, 20)
    torch.testing.assert_close(rows.float(), encoder.clip.pixel_tokens(pixels).projected, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(rows[:, 0].float(), image_features(encoder, pictures)[[3, 0]], atol=2e-3, rtol=2e-3)
    monkeypatch.setattr(encoder.clip, "pixel_tokens", None)  # a second time nothing is encoded
    again = clip_tokens(encoder.clip, pictures, tmp_path / "t", progress=False)
    assert torch.equal(again.rows(pictures.ids), tokens.rows(pictures.ids))
