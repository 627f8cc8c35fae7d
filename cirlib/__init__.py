"""cirlib: composed image retrieval, in the open. Importing it chooses no device, downloads nothing and prints nothing.

The names below are the short way to what most programs need; each is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Benchmark": "types",
    "Embeddings": "types",
    "ImageSet": "types",
    "InputError": "types",
    "Query": "types",
    "Report": "types",
    "ClipEncoder": "methods.clip_encoder",
    "ImageOnly": "methods.baselines",
    "TextOnly": "methods.baselines",
    "WeightedSum": "methods.baselines",
    "compare": "evaluation.report",
    "evaluate": "evaluation.evaluate",
    "load_atelier": "data.atelier",
    "load_benchmarks": "data.registry",
    "load_clip": "backbones.clip",
    "load_folder": "data.folder",
    "load_index": "index",
    "miniature_path": "backbones.miniature",
    "summary": "evaluation.report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cirlib' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"cirlib.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
