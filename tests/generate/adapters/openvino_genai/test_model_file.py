"""How long a model's context is, from its files."""

import json

import pytest

from paceline.base.errors import ConfigError
from paceline.generate.adapters.openvino_genai.model_file import context_tokens

gguf = pytest.importorskip(
    "gguf", reason="the package that writes GGUF files is not installed: pip install gguf"
)


def folder(tmp_path, config):
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    (tmp_path / "config.json").write_text(config)
    return tmp_path


def test_a_gguf_file_tells_it_among_its_metadata(tmp_path):
    """Strings, numbers and arrays stand before it and are passed over."""
    file = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("näme")
    writer.add_bool("x.bool", True)
    writer.add_float64("x.double", 1.0)
    writer.add_array("x.numbers", [1, 2, 3])
    writer.add_array("x.texts", ["a", "bc"])
    writer.add_context_length(4096)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert context_tokens(file) == 4096


@pytest.mark.parametrize(
    "config", [{"max_position_embeddings": 512}, {"text_config": {"max_position_embeddings": 512}}]
)
def test_a_folder_tells_it_in_its_configuration(tmp_path, config):
    """Models that read more than text keep a configuration of their text part."""
    assert context_tokens(folder(tmp_path, json.dumps(config))) == 512


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"max_position_embeddings": "many"}'])
def test_a_configuration_that_does_not_tell_it_is_refused(tmp_path, config):
    """By the file's name."""
    with pytest.raises(ConfigError, match=r"config\.json does not tell max_position_embeddings"):
        context_tokens(folder(tmp_path, config))


def test_a_folder_of_another_kind_is_refused(tmp_path):
    """With what would make it one."""
    with pytest.raises(ConfigError, match=r"no openvino_model\.xml; give a folder written by `optimum-cli"):
        context_tokens(tmp_path)


@pytest.mark.parametrize("name", ["missing.gguf", "model.safetensors"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    """Or one that is not there."""
    if name == "model.safetensors":
        (tmp_path / name).write_bytes(b"x")

    with pytest.raises(ConfigError, match=rf"{name} is neither a folder nor a \.gguf file"):
        context_tokens(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [b"GGUF", b"GGML" + bytes(20), b"GGUF" + b"\xff" * 40, b"GGUF\x03\0\0\0" + bytes(8) + b"\x05" + bytes(7)],
)
def test_a_broken_file_is_refused(tmp_path, content):
    """Whatever is wrong with it."""
    file = tmp_path / "m.gguf"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"m\.gguf is no GGUF file, or a truncated one"):
        context_tokens(file)


def test_a_truncated_file_is_refused(tmp_path):
    """The library would read on."""
    from tiny_gguf import write_tiny_gguf

    file = write_tiny_gguf(tmp_path / "m.gguf")
    assert context_tokens(file) == 256
    file.write_bytes(file.read_bytes()[:-40_000])

    with pytest.raises(ConfigError, match=r"truncated one \(\d+ bytes, and its last tensor begins"):
        context_tokens(file)


def test_a_file_that_does_not_tell_is_refused(tmp_path):
    """Rather than guessed."""
    from tiny_gguf import write_tiny_gguf

    file = write_tiny_gguf(tmp_path / "m.gguf", context=None)

    with pytest.raises(ConfigError, match="does not tell its context_length"):
        context_tokens(file)
