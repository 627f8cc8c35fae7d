import pytest

from cirlib.backbones.clip_text import fill_template
from cirlib.data.fashioniq import join_captions
from cirlib.methods.pseudo_words.prompts import compose_prompt
from cirlib.types import InputError

GOLDEN = {
    ("pic2word", "fashioniq"): "a photo of $ , has a belt and is longer",
    ("pic2word", "cirr"): "a photo of $ , has a belt and is longer",
    ("searle", "fashioniq"): "a photo of $ that has a belt and is longer",
    ("searle", "cirr"): "a photo of $ that has a belt and is longer",
    ("searle", "circo"): "a photo of $ that has a belt and is longer",
    ("searle", "genecis"): "a photo of $ that has a belt and is longer",
    ("lincir", "fashioniq"): "a photo of $ that has a belt and is longer",
    ("lincir", "circo"): "a photo of $ that has a belt and is longer",
    ("map-to-compose", "fashioniq"): "a photo of $ , that has a belt and is longer",
    ("map-to-compose", "cirr"): "a photo of $ , that has a belt and is longer",
    ("map-to-compose", "circo"): "a photo of $ that has a belt and is longer",
    ("common", "cirr"): "a photo of $ that has a belt and is longer",
}


@pytest.mark.parametrize(("method", "benchmark"), GOLDEN)
def test_prompts_are_those_of_the_sources(method, benchmark):
    text = join_captions(["is longer.", "has a belt"], "reverse")  # the second caption first
    assert fill_template(compose_prompt(benchmark, method), text) == GOLDEN[method, benchmark]


def test_unknown_methods_are_refused():
    with pytest.raises(InputError, match="searle"):
        compose_prompt("cirr", "palavra")
