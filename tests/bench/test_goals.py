"""Goals are computed from recorded rows: the worst case counts, and no row is no verdict."""

import pytest

from cirlib.bench.goals import GOALS, Goal, best, goals_table, grouped, ratios


def row(bench, case, provider, p50_ms, device="cpu", hardware="a machine", **extra):
    measured = {
        "p50_ms": p50_ms,
        "p20_ms": p50_ms,
        "p80_ms": p50_ms,
        "peak_mib": extra.pop("peak_mib", 1.0),
        "floor_ms": extra.pop("floor_ms", None),
    }
    return {
        "bench": bench,
        "case": case,
        "provider": provider,
        **measured,
        "device": device,
        "hardware": hardware,
        "threads": 2,
        "extra": extra,
    }


def verdicts(rows):
    return goals_table(rows).set_index("goal")


def test_without_rows_nothing_is_measured():
    table = goals_table([])
    assert list(table["goal"]) == [goal.name for goal in GOALS] and len(set(table["goal"])) == len(GOALS)
    assert set(table["verdict"]) == {"not measured"} and set(table["measured"]) == {""}


@pytest.mark.parametrize(
    ("at_most", "bar", "verdict", "worst"),
    [(False, 2, "met", 2.0), (False, 2.1, "not met", 2.0), (True, 5, "met", 5.0), (True, 4, "not met", 5.0)],
)
def test_the_worst_case_counts(at_most, bar, verdict, worst):
    goal = Goal("X", "a ratio", bar, at_most, lambda groups: [2.0, 5.0])
    assert goal.verdict([]) == (worst, 2, verdict)
    (line,) = goals_table([], [goal]).to_dict("records")
    assert line["must"] == f"{'<=' if at_most else '>='} {bar:g}" and line["cases"] == 2


def test_ratios_are_taken_within_a_case_on_one_machine():
    rows = [
        row("ranks", "a", "argsort", 60),
        row("ranks", "a", "cirlib", 10),
        row("ranks", "b", "argsort", 7),
        row("ranks", "c", "cirlib", 1),
    ]
    rows += [
        row("ranks", "b", "cirlib", 1, hardware="another"),
        row("slots", "a", "argsort", 1),
        row("ranks", "a", "cirlib", 1, device="cuda"),
    ]
    assert list(ratios(grouped(rows), "argsort", "cirlib", bench="ranks")) == [6.0]


def test_the_best_of_several_peers_is_the_peer():
    (group,) = grouped([row("search", "a", "faiss", 5.0), row("search", "a", "faiss-tuned", 4.0), row("search", "a", "other", 1.0)])
    assert best(group, "faiss") == 4.0 and best(group, "none") is None
    (group,) = grouped([row("search", "a", "faiss", None), row("search", "a", "x", 1.0, recall=0.5)])
    assert best(group, "faiss") is None and best(group, "x", "recall") == 0.5


CEILINGS = {"copy_gbps": 4000.0}
GPU = [
    row("gpu", "search-1024x10000000x512-k100", "cirlib-half", 15.0, "cuda", floor_ms=10.0, recall=1.0, certified=1.0, peak_mib=2.0),
    row("gpu", "search-1024x10000000x512-k100", "cirlib-int8-statistical", 9.0, "cuda", floor_ms=5.0, certified=0.4),
    row("gpu", "search-1024x10000000x512-k100", "torch", 45.0, "cuda", floor_ms=10.0, peak_mib=10.0),
    row("gpu", "search-1024x2500000x512-k100-sorted", "cirlib-half", 4.5, "cuda", floor_ms=2.5),
    row("gpu", "search-64x10000000x512-k50", "cirlib-half", 3.0, "cuda", floor_ms=2.5, gbps=3400.0, ceilings=CEILINGS),
    row("gpu", "slots-1024x1-123403x32x256", "cirlib", 6.0, "cuda", floor_ms=4.0, times_floor=1.5),
    row("gpu", "slots-1024x1-123403x32x256", "late-interaction-kernels, 64 queries", 50.0, "cuda", floor_ms=0.25, times_floor=200.0),
    row("gpu", "slots-64x8-1000000x16x512", "cirlib", 17.0, "cuda", floor_ms=10.0, times_floor=1.7),
]


def test_rows_of_a_gpu_meet_and_miss_goals():
    table = verdicts(GPU)
    expected = {"G3": ("1.5", "met"), "G4": ("0.85", "met"), "G6a": ("3", "met"), "G6b": ("5", "not met"), "G7": ("0.9", "met")}
    expected |= {"G8": ("1.2", "not met"), "G9a1": ("1.5", "met"), "G9a2": ("133", "met"), "G9b1": ("1.7", "not met"), "G15": ("1", "met")}
    assert {goal: (table.loc[goal, "measured"], table.loc[goal, "verdict"]) for goal in expected} == expected
    assert set(table.loc[~table.index.isin(list(expected)), "verdict"]) == {"not measured"}


def test_a_fast_search_that_is_wrong_meets_no_goal():
    ours = row("search", "even-1m-q1024", "certified", 1.0, floor_ms=4.0, certified=1.0, same_order=1.0)
    peers = [row("search", "even-1m-q1024", "faiss", 4.0), row("search", "even-1m-q1024", "faiss-tuned", 3.0)]
    table = verdicts([ours, *peers])
    assert dict(table.loc[["G1", "G2", "G15"], "verdict"]) == {"G1": "met", "G2": "met", "G15": "met"}
    assert table.loc["G1", "measured"] == "3"
    table = verdicts([ours | {"extra": {"certified": 1.0, "same_order": 0.99}}, *peers])
    assert table.loc["G1", "measured"] == "0" and dict(table.loc[["G1", "G15"], "verdict"]) == {"G1": "not met", "G15": "not met"}


def test_goals_of_the_cpu_read_their_own_bench():
    rows = [row("ranks", "c", "argsort", 60.0), row("ranks", "c", "cirlib", 10.5), row("ranks", "c", "product", 10.0)]
    rows += [
        row("contrastive", "batch-32768", "plain", 10.0, peak_mib=80.0),
        row("contrastive", "batch-32768", "cirlib", 13.0, peak_mib=8.0),
    ]
    table = verdicts(rows)
    found = {goal: table.loc[goal, "verdict"] for goal in ("G11a", "G11b", "G14a", "G14b")}
    assert found == {"G11a": "met", "G11b": "not met", "G14a": "not met", "G14b": "met"}


@pytest.mark.parametrize(("gap", "recall", "verdict"), [(2e-9, 1.0, "met"), (1e-5, 1.0, "not met"), (2e-9, 0.999, "not met")])
def test_what_fixed_point_cannot_tell_apart_may_change_places(gap, recall, verdict):
    told = {"certified": 1.0, "same_order": 0.999, "worst_gap": gap, "recall": recall, "dim": 512}
    rows = [row("search", "even-1m-q64", "certified", 1.0, **told), row("search", "even-1m-q64", "faiss", 4.0)]
    assert dict(verdicts(rows).loc[["G1", "G15"], "verdict"]) == {"G1": verdict, "G15": verdict}
