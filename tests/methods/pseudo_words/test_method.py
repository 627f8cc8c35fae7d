import pytest
import torch
from torch.nn.functional import normalize

from cirlib.backbones.clip_text import text_tower
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.mappers import SearleMapper
from cirlib.methods.pseudo_words.method import BothOrders, PseudoWordMethod
from cirlib.methods.pseudo_words.sentence import pseudo_sentences, word_embedding
from cirlib.types import InputError, Method, Query


@pytest.fixture
def method(encoder):
    torch.manual_seed(0)
    return PseudoWordMethod(encoder, SearleMapper(20, 24))


def test_it_is_a_method_with_plain_clip_as_gallery(method, pictures):
    assert isinstance(method, Method)
    assert torch.equal(method.encode_gallery(pictures).rows, method.encoder.images(pictures).rows)


def test_queries_are_filled_templates_about_their_own_reference(method, pictures):
    queries = [Query("a", "p5", "is red"), Query("b", "p2", "costs $5"), Query("c", "p5", "is red")]
    found = method.compose(queries, pictures)
    assert found.ids == ("a", "b", "c") and torch.equal(found.rows[0], found.rows[2])
    word = method.mapper.eval()(image_features(method.encoder, pictures.select(["p2"])))
    alone = pseudo_sentences(method.encoder.clip, ["a photo of $ that costs dollar 5"], word)
    torch.testing.assert_close(found.rows[1:2], normalize(alone, dim=-1), atol=1e-5, rtol=1e-4)


def test_words_are_without_dropout_and_leave_the_mapper_as_it_was(method, pictures):
    method.mapper.train()
    assert torch.equal(method.words(pictures), method.words(pictures))
    assert method.mapper.training and not method.words(pictures).requires_grad


def test_neighbours_are_the_nearest_rows_of_the_token_table(method):
    clip = method.encoder.clip
    words = torch.stack([word_embedding(clip, "red"), 2 * word_embedding(clip, "that"), torch.randn(24)])
    found = method.neighbours(words, 3)
    assert found[0][0][0] == "red" and found[0][0][1] == pytest.approx(1) and found[1][0][0] == "that"
    table = text_tower(clip).token_embedding.weight
    slow = {}
    for number, piece in clip.tokenizer.decoder.items():
        word = piece.removesuffix("</w>")
        if piece != word and word.isascii() and word.isalpha():
            slow[word] = torch.cosine_similarity(words[2], table[number], dim=0).item()
    assert [word for word, _ in found[2]] == sorted(slow, key=slow.get, reverse=True)[:3]
    with pytest.raises(InputError, match="1 or more"):
        method.neighbours(words, 0)


def test_both_orders_average_unit_rows(method, pictures):
    first, second = Query("a", "p1", "red and that"), Query("a", "p1", "that and red")
    both = BothOrders(method, {"a": second.text}).compose([first], pictures).rows
    wanted = normalize(method.compose([first], pictures).rows + method.compose([second], pictures).rows, dim=-1)
    assert torch.equal(both, wanted)
    assert BothOrders(method, {}).compose([first], pictures).rows.allclose(method.compose([first], pictures).rows)


@pytest.mark.parametrize("template", ["a photo of {modification_text}", "a photo of $", "a photo of $, {modification_text}"])
def test_templates_need_both_places(encoder, template):
    with pytest.raises(InputError, match="template"):
        PseudoWordMethod(encoder, SearleMapper(20, 24), template=template)
