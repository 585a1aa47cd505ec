"""What config.json may say, and how wrong ones are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from paceline.base.errors import ConfigError
from paceline.generate.config import RopeScaling, read_config

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": 2,
    "bos_token_id": 1,
}


def folder(path: Path, generation: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A model folder whose config.json is LLAMA with changes; None leaves a key out."""
    config = {name: value for name, value in (LLAMA | changes).items() if value is not None}
    (path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (path / "generation_config.json").write_text(json.dumps(generation))
    return path


def test_a_llama_is_read(tmp_path: Path) -> None:
    """Every size has its place; what is left out has Hugging Face's default."""
    config = read_config(folder(tmp_path))

    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (300, 64, 96)
    assert (config.layers, config.heads, config.kv_heads, config.head_dim) == (2, 4, 2, 16)
    assert (config.max_positions, config.norm_eps, config.rope_theta) == (128, 1e-6, 10_000.0)
    assert (config.rope_scaling, config.sliding_window, config.tied_embeddings) == (None, None, False)
    assert (config.eos_token_ids, config.bos_token_id) == ((2,), 1)


def test_without_key_heads_every_head_has_its_own(tmp_path: Path) -> None:
    """The first Llamas did not name them."""
    assert read_config(folder(tmp_path, num_key_value_heads=None)).kv_heads == 4


def test_both_places_name_ends_of_text(tmp_path: Path) -> None:
    """Chat models name the end of a turn in generation_config.json only."""
    path = folder(tmp_path, generation={"eos_token_id": [7, 2, 5]}, eos_token_id=[2])

    assert read_config(path).eos_token_ids == (2, 5, 7)


def test_qwen_has_biases_or_head_norms(tmp_path: Path) -> None:
    """Qwen2 has the former, Qwen3 the latter, and its heads' default width."""
    qwen2 = read_config(folder(tmp_path, architectures=["Qwen2ForCausalLM"]))
    qwen3 = read_config(folder(tmp_path, architectures=["Qwen3ForCausalLM"]))

    assert (qwen2.qkv_bias, qwen2.qk_norm, qwen2.head_dim) == (True, False, 16)
    assert (qwen3.qkv_bias, qwen3.qk_norm, qwen3.head_dim) == (False, True, 128)


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 9}, 9),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": None}, None),
        ({"architectures": ["LlamaForCausalLM"], "sliding_window": 9}, None),
        ({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 9}, None),
        (
            {
                "architectures": ["Qwen2ForCausalLM"],
                "sliding_window": 9,
                "use_sliding_window": True,
                "max_window_layers": 2,
            },
            None,
        ),
        (
            {
                "architectures": ["Qwen3ForCausalLM"],
                "sliding_window": 9,
                "use_sliding_window": True,
                "max_window_layers": 0,
            },
            9,
        ),
        (
            {
                "architectures": ["Qwen3ForCausalLM"],
                "sliding_window": 9,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention"] * 2,
            },
            9,
        ),
    ],
)
def test_the_window_of_every_layer(tmp_path: Path, changes: dict[str, Any], window: int | None) -> None:
    """Mistral's counts as it stands, Qwen's only when switched on, Llama's never."""
    assert read_config(folder(tmp_path, **changes)).sliding_window == window


def test_windows_of_some_layers_are_refused(tmp_path: Path) -> None:
    """One layer of two would be computed wrongly."""
    path = folder(
        tmp_path,
        architectures=["Qwen2ForCausalLM"],
        sliding_window=9,
        use_sliding_window=True,
        max_window_layers=1,
    )

    with pytest.raises(ConfigError, match="1 of 2 layers have a sliding window; supported are all or none"):
        read_config(path)


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_stretched_frequencies_under_either_key(tmp_path: Path, key: str) -> None:
    """The newer key holds theta too."""
    rope = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    theta = {"rope_theta": 500_000.0}
    changes = {key: rope} | theta if key == "rope_scaling" else {key: rope | theta}
    config = read_config(folder(tmp_path, **changes))

    assert config.rope_theta == 500_000.0
    assert config.rope_scaling == RopeScaling("llama3", 8.0, 1.0, 4.0, 64)


def test_the_oldest_name_of_the_kind(tmp_path: Path) -> None:
    """`type` came before `rope_type`."""
    scaling = read_config(folder(tmp_path, rope_scaling={"type": "linear", "factor": 2.0})).rope_scaling

    assert scaling is not None
    assert (scaling.kind, scaling.factor) == ("linear", 2.0)


@pytest.mark.parametrize(
    ("extra", "factor"),
    [
        ({}, 0.1 * math.log(4.0) + 1.0),
        ({"attention_factor": 1.5}, 1.5),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1.0),
    ],
)
def test_yarn_corrects_the_attention(tmp_path: Path, extra: dict[str, float], factor: float) -> None:
    """By its paper's rule unless the file says otherwise."""
    scaling = read_config(
        folder(tmp_path, rope_scaling={"rope_type": "yarn", "factor": 4.0} | extra)
    ).rope_scaling

    assert scaling is not None
    assert scaling.attention_factor == pytest.approx(factor)
    assert scaling.original_positions == 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "architecture 'GPT2LMHeadModel' is not supported .LlamaForCausalLM, .* are.; serve it through",
        ),
        (
            {"architectures": None, "model_type": "mamba"},
            "architecture of model_type 'mamba', unnamed, is not",
        ),
        ({"hidden_size": None}, "hidden_size is missing but must be a whole number from 1 to"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0 but must be a whole number from 1 to"),
        ({"vocab_size": 12.5}, "vocab_size is 12.5 but must be a whole number"),
        ({"vocab_size": True}, "vocab_size is true but must be a whole number"),
        (
            {"num_key_value_heads": 3},
            "num_key_value_heads is 3 but must be a divisor of num_attention_heads 4",
        ),
        ({"head_dim": 15}, "heads of 15 dimensions cannot be rotated in pairs"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0 but must be a number above 0"),
        ({"rms_norm_eps": "tiny"}, 'rms_norm_eps is "tiny" but must be a number'),
        ({"tie_word_embeddings": "no"}, 'tie_word_embeddings is "no" but must be true or false'),
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu" is not supported .hidden_act = "silu" is'),
        ({"mlp_bias": True}, "mlp_bias = true is not supported"),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "quantization_config = .*gptq.* is not supported",
        ),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_type 'longrope' is not supported"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor is missing"),
        ({"rope_scaling": [1]}, r"rope_scaling is \[1\] but must be an object"),
        (
            {
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 2.0,
                    "low_freq_factor": 4.0,
                    "high_freq_factor": 1.0,
                }
            },
            "high_freq_factor is 1.0 but must be above low_freq_factor 4.0",
        ),
        ({"eos_token_id": 300}, "eos_token_id is 300 but must be ids from 0 to 299"),
        ({"eos_token_id": [2, "</s>"]}, "eos_token_id is .* but must be ids from 0 to 299"),
    ],
)
def test_what_we_would_compute_wrongly_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """In one line: the file, the value, what is supported, the way out."""
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(folder(tmp_path, **changes))

    assert str(tmp_path / "config.json") in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The message says what belongs into one."""
    with pytest.raises(ConfigError, match=r"does not exist; set generate.model to a folder with config.json"):
        read_config(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "config.json is missing"), ("{", "cannot be read"), ("[]", "is not a JSON object")],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str | None, message: str) -> None:
    """Missing, torn, or something else."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)

    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path)
