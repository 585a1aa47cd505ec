"""Who takes part."""

import pytest

from paceline.base.errors import ConfigError
from paceline.vectors.bench.contestant import Setup
from paceline.vectors.bench.roster import ROSTER, USUAL, Entry, chosen


def test_without_names_all_take_part_but_further_precisions_of_ours():
    assert [entry.name for entry in chosen([])] == list(USUAL)
    assert set(ROSTER) - set(USUAL) == {f"paceline-{kind}" for kind in ("fp32", "fp16", "bf16", "binary")}


def test_a_family_is_all_of_it_and_the_order_is_the_rosters():
    assert [entry.name for entry in chosen(["faiss", "paceline"])] == [
        "paceline",
        "faiss-flat",
        "faiss-sq8",
        "faiss-bf16",
    ]


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no contestant 'pinecone'; there are paceline, "):
        chosen(["pinecone"])


def test_one_that_is_not_installed_says_what_to_install():
    absent = Entry("other", ("no_such_module_anywhere",), "other-py", "faiss_index:Faiss", "", "product")

    assert (absent.missing, ROSTER["faiss-flat"].missing) == ("pip install other-py", "")


def test_its_version_is_that_of_its_packages():
    two = Entry("two", (), "numba msgspec", "faiss_index:Faiss", "", "library")

    assert ROSTER["paceline"].version.startswith("numba ")
    assert two.version.startswith(ROSTER["paceline"].version + ", msgspec ")


@pytest.mark.parametrize("name", [name for name, entry in ROSTER.items() if not entry.missing])
def test_each_that_is_installed_can_be_made(name, tmp_path):
    made = ROSTER[name].made(Setup(str(tmp_path), 48))

    assert made.index
