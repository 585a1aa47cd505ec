"""One setting chooses who generates."""

import pytest

from paceline.base.errors import ConfigError
from paceline.generate.adapters.open_adapter import open_adapter
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from paceline.generate.policy import GeneratePolicy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "model", "served", "asked"),
    [("", "m", "m", "m"), ("here", "m", "here", "m"), ("here", "", "here", "here")],
)
async def test_an_upstream_needs_no_model_of_ours(name, model, served, asked):
    """Its model may have another name here."""
    policy = GeneratePolicy(
        engine="upstream", name=name, upstream=UpstreamPolicy(url="http://localhost:1", model=model)
    )

    upstream = await open_adapter(policy)

    assert upstream.name == upstream.card().id == served
    assert upstream._model == asked
    await upstream.close()


@pytest.mark.parametrize("kind", ["openvino-genai", "vllm"])
@pytest.mark.parametrize("model", ["", "/nowhere/at/all"])
async def test_the_others_need_one(kind, model):
    """That is there."""
    with pytest.raises(ConfigError, match=rf"generate\.model = '{model}' is not there; .*for {kind}"):
        await open_adapter(GeneratePolicy(engine=kind, model=model))


async def test_openvino_genai_is_opened_with_its_model(tmp_path):
    """The whole way, up to its card."""
    pytest.importorskip("openvino_genai", reason="pip install 'paceline[openvino-genai]'")
    pytest.importorskip("gguf", reason="the package that writes the model is not installed: pip install gguf")
    from tiny_gguf import write_tiny_gguf

    model = write_tiny_gguf(tmp_path / "tiny.gguf")

    generator = await open_adapter(
        GeneratePolicy(engine="openvino-genai", model=str(model), context_tokens=100, threads=1)
    )

    assert (generator.name, generator.card().max_tokens) == ("tiny", 100)
    await generator.close()
