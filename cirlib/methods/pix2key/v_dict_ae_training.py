"""Training V-Dict-AE: Accelerate, AdamW, averaged weights, a state on disk that an interrupted run goes on from.

A step depends on the recipe, the seed and the step's number only: a run that was interrupted ends at the same weights as one that was not.
"""

import hashlib
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib._cache import cache_dir
from cirlib.backbones.diffusion import LatentDiffusion
from cirlib.backbones.vlm import VisionLanguageModel
from cirlib.methods.pix2key.v_dict_ae import VDictAE
from cirlib.methods.pix2key.v_dict_ae_batches import Batches
from cirlib.methods.pix2key.v_dict_ae_recipe import Recipe
from cirlib.types import ImageSet, InputError

WEIGHTS, TRAINING = "v_dict_ae.safetensors", "training.json"
Watch = Callable[[int, VDictAE], None]


@dataclass(frozen=True)
class Trained:
    """Outcome of a training.

    Attributes:
        model: With the averaged weights, in evaluation mode.
        history: One row per step: "step", "v", "pixel" and "guard" (where the step had them), "total", "norm" (of the gradient before
            clipping), "rate", "seconds".
        seconds: Time of all steps, over all runs that it took.
        peak_mib: Largest memory: of the device, or of the whole process on a CPU.
    """

    model: VDictAE
    history: list[dict[str, float]]
    seconds: float
    peak_mib: float


def parameter_groups(model: VDictAE, recipe: Recipe) -> list[dict]:
    """AdamW's groups: matrices with weight decay; norms, biases, queries and type embeddings without; adapters at their own rate."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name in ("pooler.queries", "pooler.types")
        groups.setdefault((plain, name.startswith("adapters.")), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else recipe.weight_decay,
            "peak": recipe.lora_rate if adapter and recipe.lora_rate else recipe.rate,
        }
        for (plain, adapter), parameters in groups.items()
    ]


class Average:
    """Exponential moving average of the trained weights, in fp32; buffers are copied."""

    def __init__(self, model: VDictAE) -> None:
        self.weights = {name: tensor.detach().float().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: VDictAE, decay: float) -> None:
        """average <- decay * average + (1 - decay) * weights."""
        trained = dict(model.named_parameters())
        for name, tensor in model.state_dict().items():
            self.weights[name].lerp_(tensor.float(), 1 - decay if name in trained else 1.0)


def train_v_dict_ae(
    recipe: Recipe,
    vlm: VisionLanguageModel,
    diffusion: LatentDiffusion,
    images: ImageSet,
    *,
    folder: Path | None = None,
    watch: Watch | None = None,
    watch_every: int = 0,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train from scratch or from the last saved state; a finished training is read back and not repeated.

    Args:
        recipe: All settings. The same recipe, models and pictures share one state under the user's cache folder.
        vlm: Frozen; stays the stock model outside the trained model's `adapted`.
        diffusion: Frozen.
        images: Unlabelled pictures.
        folder: Where the checkpoint is written, for `load_v_dict_ae`; None writes none.
        watch: Called with (steps done, model with averaged weights) before the first step, every `watch_every` steps and at the end, for
            pictures of the progress. The averaged weights of these steps are kept with the state, so a training that is resumed or read
            back shows what it would have shown in one piece; one that was watched at other steps, or not at all, has another state.
        watch_every: Steps between two calls; 0 calls it at the two ends only.
        stop_after: Save the state and return once this many steps are done, as an interruption would.
        progress: Show bars.

    Raises:
        InputError: If there are fewer pictures than a batch needs.
    """
    run = _Run(recipe, vlm, diffusion, images, None if watch is None else watch_every, progress)
    last = min(recipe.steps, stop_after or recipe.steps)
    for done in sorted(run.kept):
        run.show(done, watch)
    bar = tqdm(range(run.done, last), initial=run.done, total=recipe.steps, desc="V-Dict-AE", mininterval=5, disable=not progress)
    for step in bar:
        row = run.step(step)
        bar.set_postfix({name: f"{row[name]:.3f}" for name in ("v", "guard") if name in row}, refresh=False)
        if run.done % recipe.save_every == 0 or run.done == last:
            run.save()
        if run.done in run.kept:
            run.show(run.done, watch)
    trained = run.finish()
    if watch is not None and run.done == recipe.steps:
        watch(recipe.steps, trained.model)
    if folder is not None:
        save_v_dict_ae(trained, folder)
    return trained


class _Run:
    """One training under way: model, optimiser, average, how far it is, and the averaged weights by watched step before the last."""

    def __init__(self, recipe: Recipe, vlm, diffusion, images: ImageSet, watch_every: int | None, progress: bool) -> None:
        self.recipe, self.watch_every = recipe, watch_every
        self.model = VDictAE(vlm, recipe, diffusion)
        self.accelerator = Accelerator(cpu=vlm.device.type == "cpu")
        key = {"recipe": asdict(recipe), "vlm": vlm.fingerprint, "diffusion": diffusion.fingerprint}
        key["images"] = [images.content_hash(i) for i in images.ids]
        if watch_every is not None:
            key["watch_every"] = watch_every
        self.file = cache_dir("v_dict_ae") / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.pt"
        state = torch.load(self.file, map_location="cpu", weights_only=True) if self.file.exists() else None
        self.done = 0 if state is None else state["done"]
        self.history = [] if state is None else state["history"]
        self.kept = {} if state is None else state.get("kept", {})
        self.batches = Batches(self.model, images, progress) if self.done < recipe.steps else None
        if state is None:
            self.model.pooler.match_statistics(self.batches.sample_patches())
        else:
            self.model.load_state_dict(state["model"])
        self.average = Average(self.model)
        with self.model.adapted():  # the adapters take part in gradients only while they are on
            self.wrapped = self.accelerator.prepare(self.model)
            self.optimizer = torch.optim.AdamW(parameter_groups(self.model, recipe), lr=recipe.rate, betas=(0.9, 0.999))
        if state is not None:
            self.optimizer.load_state_dict(state["optimizer"])
            for name, tensor in state["average"].items():
                self.average.weights[name].copy_(tensor)
        if self.done == 0:
            self.keep()

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step; returns its row of the history."""
        started = time.perf_counter()
        recipe, accelerator = self.recipe, self.accelerator
        batch = self.batches(step, accelerator.process_index, accelerator.num_processes)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * recipe.rate_share(step)
        autocast = torch.autocast(self.model.vlm.device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
        with torch.random.fork_rng(), self.model.adapted(training=True):
            torch.manual_seed(recipe.seed * 1_000_003 + step)  # the adapters' dropout
            with autocast:
                losses = self.wrapped(batch)
            total = self.model.total(losses)
            accelerator.backward(total)
            norm = accelerator.clip_grad_norm_(self.model.parameters(), recipe.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.model.cool()
        self.average.update(self.model, recipe.ema_decay(step))
        self.done = step + 1
        self.keep()
        row = {"step": step, **{name: loss.item() for name, loss in losses.items()}, "total": total.item(), "norm": float(norm)}
        self.history.append({**row, "rate": recipe.rate * recipe.rate_share(step), "seconds": time.perf_counter() - started})
        return self.history[-1]

    def keep(self) -> None:
        """Keep the averaged weights if this step is watched; those of the last step are kept as the outcome."""
        if self.watch_every is None or self.done == self.recipe.steps:
            return
        if self.done == 0 or (self.watch_every and self.done % self.watch_every == 0):
            self.kept[self.done] = {name: tensor.to("cpu", copy=True) for name, tensor in self.average.weights.items()}

    def save(self) -> None:
        """Write the state in one piece, from the first process."""
        if self.accelerator.is_main_process:
            state = {"done": self.done, "history": self.history, "model": self.model.state_dict(), "average": self.average.weights}
            with atomic_path(self.file) as draft:
                torch.save({**state, "optimizer": self.optimizer.state_dict(), "kept": self.kept}, draft)

    def show(self, done: int, watch: Watch) -> None:
        """Call `watch` with the averaged weights of a kept step, and put the trained ones back."""
        trained = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.kept[done])
        watch(done, self.model)
        self.model.load_state_dict(trained)

    def finish(self) -> Trained:
        """The outcome: averaged weights, history, time and memory."""
        self.model.load_state_dict(self.average.weights)
        device = self.model.vlm.device
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _process_peak_mib()
        return Trained(self.model.eval().requires_grad_(False), self.history, sum(row["seconds"] for row in self.history), peak)


def _process_peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


def save_v_dict_ae(trained: Trained, folder: Path) -> None:
    """Write the weights as safetensors, and the recipe, time and memory as JSON."""
    with atomic_path(Path(folder) / WEIGHTS) as draft:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in trained.model.state_dict().items()}, draft)
    facts = {
        "recipe": asdict(trained.model.recipe),
        "seconds": round(trained.seconds, 1),
        "peak_mib": round(trained.peak_mib),
        "parameters": sum(tensor.numel() for tensor in trained.model.parameters()),
        "vlm": trained.model.vlm.fingerprint,
        "diffusion": trained.model.diffusion.fingerprint,
        "torch": torch.__version__,
    }
    atomic_write_text(Path(folder) / TRAINING, json.dumps(facts, indent=2) + "\n")


def load_v_dict_ae(folder: Path, vlm: VisionLanguageModel, diffusion: LatentDiffusion | None = None) -> VDictAE:
    """Read a checkpoint; without a diffusion model only the pooler and the adapters, which is all that inference needs.

    Raises:
        InputError: If the folder holds no checkpoint, or one for another language model.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file() or not (folder / TRAINING).is_file():
        raise InputError(f"{folder} holds no V-Dict-AE ({WEIGHTS} and {TRAINING}); train one, or name another folder")
    facts = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    if facts["vlm"] != vlm.fingerprint:
        raise InputError(f"the V-Dict-AE of {folder} was trained on {facts['vlm']}, and {vlm.fingerprint} is given; load that model")
    model = VDictAE(vlm, Recipe.read(facts["recipe"]), diffusion)
    weights = load_file(folder / WEIGHTS)
    model.load_state_dict({name: tensor for name, tensor in weights.items() if diffusion is not None or not name.startswith("head.")})
    return model.eval().requires_grad_(False)
