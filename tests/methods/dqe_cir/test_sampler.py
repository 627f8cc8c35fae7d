"""Draws: no repeats until a set is used up, uniform, and the same after an interruption."""

import pytest
import torch

from cirlib.methods.dqe_cir.sampler import NegativeSampler
from cirlib.methods.dqe_cir.sets import NegativeSets
from cirlib.types import InputError

LISTS = [[3, 5, 8, 13], [2], [0, 1, 4, 6, 7, 9, 10]]


def sets(lists=LISTS):
    sizes = torch.tensor([0, *map(len, lists)])
    return NegativeSets(sizes.cumsum(0), torch.tensor(sum(lists, []), dtype=torch.int32), torch.zeros(len(lists), dtype=torch.int64))


def sampler(seed=0, rebuilds=1):
    made = NegativeSampler(seed)
    for _ in range(rebuilds):
        made.rebuild(sets())
    return made


def draws(made, query, count):
    return [int(made.draw(torch.tensor([query]))) for _ in range(count)]


@pytest.mark.parametrize("query", range(3))
def test_a_querys_negatives_do_not_repeat_until_its_set_is_used_up(query):
    made, size = sampler(), len(LISTS[query])
    laps = [draws(made, query, size) for _ in range(20)]
    assert all(sorted(lap) == LISTS[query] for lap in laps)
    assert size == 1 or len({tuple(lap) for lap in laps}) > 3  # each lap has an order of its own


def test_a_rebuild_clears_the_history():
    made = sampler()
    draws(made, 0, 3)
    made.rebuild(sets([[21, 22], [23], [24]]))
    assert sorted(draws(made, 0, 2)) == [21, 22]
    first, second = (draws(sampler(rebuilds=count), 2, 7) for count in (1, 2))
    assert first != second and sorted(first) == sorted(second)


def test_draws_depend_on_seed_rebuild_and_query_alone():
    alone = draws(sampler(), 0, 4)
    mixed = sampler()
    batch = mixed.draw(torch.tensor([2, 0, 1, 0, 2])).tolist()
    assert [batch[1], batch[3]] == alone[:2] and len({batch[0], batch[4]}) == 2
    assert draws(mixed, 0, 2) == alone[2:]
    assert any(draws(sampler(seed), 2, 7) != draws(sampler(), 2, 7) for seed in (1, 2))


def test_first_draws_are_uniform():
    made = NegativeSampler(5)
    made.rebuild(sets([list(range(0, 80, 10))] * 4000))
    counts = torch.bincount(made.draw(torch.arange(4000)) // 10, minlength=8).double()
    assert 0.99 < float(((counts - 500) ** 2 / 500).sum()) < 20.3  # 0.5 % and 99.5 % of chi-square with 7 degrees of freedom


def test_sets_held_as_what_is_missing_are_drawn_from_alike():
    listed = NegativeSets(torch.tensor([0, 2, 4]), torch.tensor([1, 3, 0, 2]), torch.tensor([0, 1]))
    missing = NegativeSets(
        torch.tensor([0, 1, 2]), torch.tensor([2, 5]), torch.tensor([0, 1]), (torch.tensor([1, 2, 3]), torch.tensor([0, 2, 5]))
    )
    one, other = NegativeSampler(0), NegativeSampler(0)
    one.rebuild(listed), other.rebuild(missing)
    assert missing.sizes.tolist() == [2, 2]
    for query in (0, 1, 0, 1, 1):
        assert draws(one, query, 1) == draws(other, query, 1)


def test_an_interruption_changes_nothing(tmp_path):
    made = sampler(7)
    draws(made, 0, 3), draws(made, 2, 9)
    torch.save(made.state_dict(), tmp_path / "state.pt")
    expected = [draws(made, query, 6) for query in range(3)]
    again = NegativeSampler(7)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [draws(again, query, 6) for query in range(3)] == expected
    assert again.rebuilds == 1
    made.rebuild(sets()), again.rebuild(sets())
    assert draws(made, 2, 7) == draws(again, 2, 7)


def test_a_state_is_a_copy_and_one_before_the_first_rebuild_is_empty():
    made = NegativeSampler(1)
    empty = made.state_dict()
    made.rebuild(sets())
    state = made.state_dict()
    expected = draws(made, 0, 2)
    made.load_state_dict(state)
    assert draws(made, 0, 2) == expected
    made.load_state_dict(empty)
    with pytest.raises(InputError, match="rebuild the sampler"):
        made.draw(torch.tensor([0]))


def test_bad_input():
    with pytest.raises(InputError, match="seed -1"):
        NegativeSampler(-1)
    with pytest.raises(InputError, match="query 1 has an empty negative set"):
        NegativeSampler(0).rebuild(sets([[1], [], [2]]))
    with pytest.raises(InputError, match=r"sets belong to \[0, 3\)"):
        sampler().draw(torch.tensor([3]))
    with pytest.raises(InputError, match="a state of seed 0 given to a sampler of seed 1"):
        NegativeSampler(1).load_state_dict(sampler().state_dict())
