"""Plain coloured pictures and queries between them: "is red" leads from any colour to red. Small enough to be learned in seconds."""

from PIL import Image

from cirlib.evaluation.evaluate import evaluate
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, Method, Query

COLORS = ("red", "lime", "blue", "white", "black", "yellow")
IMAGES = ImageSet(COLORS, lambda name: Image.new("RGB", (24, 24), name), lambda name: f"{COLORS.index(name):064x}")


def benchmark(split: str, shift: int = 1, count: int = 12) -> Benchmark:
    """Query n asks from colour n for colour n + shift, the next dozen for those one further."""
    pairs = [(n % 6, (n + shift + n // 6) % 6) for n in range(count)]
    queries = tuple(Query(f"{split}-{n}", COLORS[a], f"is {COLORS[b]}", (COLORS[b],)) for n, (a, b) in enumerate(pairs))
    return Benchmark("colors", split, queries, IMAGES, IMAGES, BenchmarkProtocol(exclude_reference=True, recall_at=(1, 2)))


def recall(method: Method, val: Benchmark) -> dict[str, float]:
    """What weights are chosen by in these tests."""
    return {"recall@1": evaluate(method, val).mean("recall@1")}
