"""The committed reference pages are what the code says."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs/reference/generate.py"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_page_is_stale(generate):
    """If one is: python docs/reference/generate.py"""
    assert list(generate.stale()) == []


def test_every_setting_is_on_its_page(generate):
    from paceline.settings import iter_knobs

    page = generate.settings_page()

    assert [knob.name for knob in iter_knobs() if f"`{knob.name}`" not in page] == []
