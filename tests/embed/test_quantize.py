"""int8: close to fp32, made once, made again when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import MakeFolder

from paceline.base.errors import ConfigError
from paceline.embed.folder import ModelFolder, open_folder
from paceline.embed.layout import Layout
from paceline.embed.openvino_engine import OpenVinoEngine
from paceline.embed.quantize import calibration_texts, quantized
from paceline.embed.tokens import Tokens

INT8 = Layout(streams=1, threads=1, max_cost=256, bucket=8, precision="int8")
FP32 = Layout(streams=1, threads=1, max_cost=256, bucket=8, precision="fp32")
GLOSSES = Path(__file__).parents[2] / "examples" / "wordnet" / "glosses.tsv"


def test_minilm_keeps_a_cosine_of_99_percent_on_text_it_was_not_calibrated_on(
    minilm: ModelFolder, tmp_path: Path
) -> None:
    glosses = [line.split("\t")[2] for line in GLOSSES.read_text().splitlines()[:64]]
    batch = [item.ids for item in Tokens(minilm).encode(glosses)]
    rough = OpenVinoEngine(minilm, INT8, tmp_path)

    cosine = (rough.run(batch) * OpenVinoEngine(minilm, FP32, tmp_path).run(batch)).sum(axis=1)

    assert cosine.min() >= 0.99
    described = rough.describe()
    assert described["precision"] == "int8"
    assert described["cosine_min"] >= 0.99


@pytest.mark.parametrize("kind", ["bert", "distilbert", "mpnet", "xlm-roberta"])
def test_every_architecture_can_be_quantised(
    make_folder: MakeFolder, ids: list[np.ndarray], tmp_path: Path, kind: str
) -> None:
    folder = open_folder(make_folder(kind))

    rough = OpenVinoEngine(folder, INT8, tmp_path).run(ids)

    exact = OpenVinoEngine(folder, FP32, tmp_path).run(ids)
    assert (rough * exact).sum(axis=1).min() > 0.97


def test_it_is_made_once_and_again_when_the_file_is_damaged(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = open_folder(make_folder())
    state = tmp_path / "state"
    first = quantized(folder, state)
    (file,) = state.iterdir()
    content = file.read_bytes()
    made_at = file.stat().st_mtime_ns

    assert quantized(folder, state).quality == first.quality
    assert file.stat().st_mtime_ns == made_at

    for damage in (b"", content[:500], content[:-1], content.replace(folder.digest.encode(), b"0" * 32)):
        file.unlink()
        file.write_bytes(damage)
        assert quantized(folder, state).quality == first.quality
        assert file.stat().st_size == len(content)


def test_onnx_folders_are_refused(onnx_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"embed.precision = int8 needs safetensors weights, model.onnx is ONNX"
    ):
        quantized(open_folder(onnx_folder), tmp_path)


def test_calibration_texts_are_many_and_different() -> None:
    texts = calibration_texts()

    assert len(texts) == len(set(texts)) >= 60
