"""Checkpoint folders: `params.json` beside safetensors, read lazily and checked strictly.

Tensors are memory-mapped and go one by one to their device and dtype, so loading never needs a
second copy of the model in memory. Whatever does not fit is one error that lists all of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbone.cuda import MEMORY_CURE
from common.errors import CheckpointError, ParleyError

SHOW_PROGRESS_AFTER_S = 1.0
LISTED_DIFFERENCES = 8
FP8_SCALES = (".qscale_weight", ".weight_scale_inv", ".weight_scale")
"""Where a file holds the one number that its 8-bit weight `<linear>.weight` is multiplied by."""
FP8_OTHERS = (".qscale_act", ".activation_scale", ".input_scale")


class _Uninitialised(TorchFunctionMode):
    """Initialises nothing.

    For random numbers and norms of tensors without memory torch imports its compiler, which takes
    longer than loading a small model.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func is nn.init.normal_:
            return kwargs["tensor"]
        if func is torch.randn:
            return torch.empty(*args, **kwargs)
        if func is torch.norm_except_dim:  # weight normalisation starts from it
            weight, _, dim = args
            return weight.new_empty([n if i == dim else 1 for i, n in enumerate(weight.shape)])
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Models built inside have parameters that take no memory, to be filled from a checkpoint."""
    with torch.device("meta"), _Uninitialised():
        yield


@dataclass(frozen=True, slots=True)
class Source:
    """Where one parameter comes from.

    Attributes:
        name: Its name in the file.
        convert: Applied to the tensor of the file, or None.
    """

    name: str
    convert: Callable[[Tensor], Tensor] | None = None


Naming = Callable[[str], Source]
M = TypeVar("M", bound=nn.Module)
DTypes = torch.dtype | Callable[[str], torch.dtype]


def read_params(folder: str | Path, name: str = "params.json") -> dict[str, Any]:
    """Read a checkpoint's parameters.

    Raises:
        CheckpointError: The folder or file is missing, or holds no JSON object.
    """
    path = Path(folder) / name
    try:
        params = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"Cannot read {path}: {error.strerror}.",
            "A checkpoint folder holds params.json, consolidated.safetensors and tekken.json.",
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error
    if not isinstance(params, dict):
        raise CheckpointError(f"{path} holds no parameters.")
    return params


def weight_files(folder: str | Path) -> list[Path]:
    """The safetensors of a folder: Mistral's if there are any, else Hugging Face's.

    Raises:
        CheckpointError: There are none.
    """
    for pattern in ("consolidated*.safetensors", "model*.safetensors"):
        if files := sorted(Path(folder).glob(pattern)):
            return files
    raise CheckpointError(
        f"{folder} holds no weights.", "Expected consolidated.safetensors or model.safetensors."
    )


def load_module(
    build: Callable[[], M],
    folder: str | Path,
    *,
    published: Naming,
    hugging_face: Naming,
    device: torch.device | str = "cpu",
    dtype: DTypes | None = None,
    ignore: Callable[[str], bool] = lambda name: False,
) -> M:
    """Build a model and fill it from a folder, whichever of the two layouts its weights have.

    Args:
        build: Makes the model; called where tensors take no memory.
        folder: Holds the weights.
        published: Names in Mistral's layout.
        hugging_face: Names in Hugging Face's.
        device: See `load_weights`, also for the others.
        dtype: As there.
        ignore: As there.

    Raises:
        CheckpointError: The folder does not hold the model's weights.
    """
    with shapes_only():
        model = build()
    files = weight_files(folder)
    naming = published if files[0].name.startswith("consolidated") else hugging_face
    load_weights(model, files, naming=naming, device=device, dtype=dtype, ignore=ignore)
    return model.eval()


def load_weights(
    module: nn.Module,
    files: Iterable[Path],
    *,
    naming: Naming = Source,
    device: torch.device | str = "cpu",
    dtype: DTypes | None = None,
    ignore: Callable[[str], bool] = lambda name: False,
) -> None:
    """Fill a module, best built on the `meta` device, from safetensors files.

    Args:
        module: Its parameters and persistent buffers are replaced.
        files: One or several shards.
        naming: From the module's names to the file's.
        device: Where the tensors go.
        dtype: What they become: one dtype, or one per module name; None keeps the file's (8-bit
            weights always become bfloat16 at least).
        ignore: Names in the file that are no concern of this module.

    Raises:
        CheckpointError: A file is damaged, or a tensor is missing, superfluous or mis-shaped.
        ParleyError: They do not fit into the device's memory.
    """
    files = list(files)
    wanted = {own: (naming(own), tensor) for own, tensor in module.state_dict().items()}
    try:
        shards = [safe_open(path, framework="pt", device="cpu") for path in files]
        held = {name: shard for shard in shards for name in shard.keys()}  # noqa: SIM118
        _check(wanted, held, ignore, files)
        total = sum(tensor.numel() for _, tensor in wanted.values())
        with _ProgressBar(total) as bar:
            for own, (source, expected) in wanted.items():
                tensor = _read(source.name, held)
                if source.convert is not None:
                    tensor = source.convert(tensor)
                target = dtype(own) if callable(dtype) else dtype or tensor.dtype
                _assign(module, own, tensor.to(device=device, dtype=target))
                bar.advance(expected.numel())
    except (SafetensorError, OSError) as error:
        names = ", ".join(str(path) for path in files)
        raise CheckpointError(
            f"{names} cannot be read: {error}.", "Is the download complete?"
        ) from error
    except torch.OutOfMemoryError as error:
        raise ParleyError(
            f"The {total / 1e9:.2g} billion weights of {files[0].parent} do not fit into the "
            f"memory that {device} has left.",
            MEMORY_CURE,
        ) from error


def _read(name: str, held: Mapping[str, Any]) -> Tensor:
    """A tensor of the file; one of 8-bit floats is multiplied by its scale, in bfloat16."""
    tensor: Tensor = held[name].get_tensor(name)
    if tensor.dtype != torch.float8_e4m3fn:
        return tensor
    linear = name.removesuffix(".weight")
    scales = [linear + ending for ending in FP8_SCALES if linear + ending in held]
    scale = held[scales[0]].get_tensor(scales[0]) if scales else None
    if scale is None or scale.numel() != 1:
        raise CheckpointError(
            f"{name} holds 8-bit floats and no single scale for them.",
            "Take the model's bfloat16 weights.",
        )
    return (tensor.float() * scale.float()).bfloat16()


def _check(
    wanted: Mapping[str, tuple[Source, Tensor]],
    held: Mapping[str, Any],
    ignore: Callable[[str], bool],
    files: list[Path],
) -> None:
    """Compare names and shapes; one error lists every difference (the first few of each kind)."""
    sources = {source.name for source, _ in wanted.values()}
    missing = sorted(sources - held.keys())
    extra = sorted(
        name for name in held.keys() - sources if not ignore(name) and not _of_quantisation(name)
    )
    shapes = {
        source.name: (list(held[source.name].get_slice(source.name).get_shape()), list(own.shape))
        for source, own in wanted.values()
        if source.name in held
    }
    misshaped = [f"{name} {has} not {want}" for name, (has, want) in shapes.items() if has != want]
    found = {"missing": missing, "not of this model": extra, "wrong shape": misshaped}
    if parts := [_listing(kind, names) for kind, names in found.items() if names]:
        raise CheckpointError(
            f"{files[0].parent} does not hold what its parameters promise: {'; '.join(parts)}.",
            "Check that params.json and the weights belong together.",
        )


def _of_quantisation(name: str) -> bool:
    return name.endswith(FP8_SCALES + FP8_OTHERS) or "fake_quantizer" in name


def _listing(kind: str, names: list[str]) -> str:
    more = len(names) - LISTED_DIFFERENCES
    shown = ", ".join(names[:LISTED_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
    return f"{kind} ({len(names)}): {shown}"


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        owner.register_buffer(leaf, tensor)


class _ProgressBar:
    """A bar in parameters loaded, which appears only when loading takes noticeable time."""

    def __init__(self, total: int):
        self._progress = Progress(
            TextColumn("loading weights"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total)
        self._since = time.monotonic()

    def __enter__(self) -> _ProgressBar:
        return self

    def advance(self, by: int) -> None:
        self._progress.advance(self._task, by)
        if time.monotonic() - self._since > SHOW_PROGRESS_AFTER_S:
            self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress.live.is_started:
            self._progress.stop()


def save_checkpoint(
    folder: str | Path, params: Mapping[str, Any], module: nn.Module, naming: Naming = Source
) -> None:
    """Write `params.json` and `consolidated.safetensors`, as `load_weights` reads them.

    Args:
        folder: Created when absent.
        params: Written as they are.
        module: Its state, with the dtypes it has.
        naming: From the module's names to the file's; must convert nothing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {naming(own).name: t.detach().contiguous() for own, t in module.state_dict().items()}
    save_file(tensors, folder / "consolidated.safetensors", metadata={"format": "pt"})
    (folder / "params.json").write_text(json.dumps(params, indent=2) + "\n")
