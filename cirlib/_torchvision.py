"""Lets a CUDA build of torchvision import beside a CPU build of torch. The one compatibility measure of the project.

A wheel of torchvision built for CUDA cannot load its compiled operators next to CPU torch, and its Python side then fails with "operator
torchvision::nms does not exist", which takes open_clip, timm, diffusers and transformers down with it. Declaring the two schemas first
is enough: transforms, models and utilities work, only the compiled operators stay away. With a matching pair this does nothing.
"""

import importlib.machinery
import sys
from pathlib import Path

_library = None  # torch.library keeps a definition only as long as its Library object lives


def prepare() -> str:
    """Make torchvision importable; call before anything imports it. Returns "native", "declared" or "absent"."""
    global _library
    import torch

    if "torchvision" in sys.modules or hasattr(torch.ops.torchvision, "nms"):
        return "native" if _library is None else "declared"
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return "absent"
    for compiled in sorted(Path(spec.submodule_search_locations[0]).glob("_C*.so")):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            _library = torch.library.Library("torchvision", "FRAGMENT")
            _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            return "declared"
    return "native"
