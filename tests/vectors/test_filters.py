"""What filters mean for one record, and what is said of those that mean nothing."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from paceline.base.errors import InvalidRequest
from paceline.vectors.filters import DEEPEST, MOST_TESTS, MOST_VALUES, CheckedFilters, Filter

RECORD = {"genre": "drama", "year": 1999, "stars": 4.5, "seen": True, "tags": ["slow", "long"]}


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({"genre": "drama"}, True),
        ({"genre": {"$eq": "comedy"}}, False),
        ({"genre": {"$ne": "comedy"}}, True),
        ({"year": 1999.0}, True),
        ({"year": {"$in": [1998, 1999]}}, True),
        ({"year": {"$in": []}}, False),
        ({"year": {"$nin": [1998, 1999]}}, False),
        ({"year": {"$gt": 1998.5, "$lt": 2000}}, True),
        ({"year": {"$gte": 1999, "$lte": 1998}}, False),
        ({"genre": {"$gt": "comedy", "$lte": "drama"}}, True),
        ({"stars": {"$gte": 4}}, True),
        ({"seen": True}, True),
        ({"seen": 1}, False),
        ({"year": "1999"}, False),
        ({"year": {"$gt": "1"}}, False),
        ({"tags": "slow"}, True),
        ({"tags": {"$in": ["dull", "long"]}}, True),
        ({"tags": {"$nin": ["slow"]}}, False),
        ({"tags": {"$gt": "a"}}, False),
        ({"tags": {"$exists": True}}, True),
        ({"lead": {"$exists": True}}, False),
        ({"lead": {"$exists": False}}, True),
        ({"lead": "Ann"}, False),
        ({"lead": {"$ne": "Ann"}}, True),
        ({"$and": [{"genre": "drama"}, {"year": 1999}]}, True),
        ({"$or": [{"genre": "comedy"}, {"year": 1999}]}, True),
        ({"$or": [{"genre": "comedy"}, {"year": 2000}]}, False),
        ({"$not": {"genre": "drama"}}, False),
        ({"year": {"$not": {"$gt": 1999}}}, True),
        ({"genre": "drama", "year": 2000}, False),
    ],
)
def test_meaning(wanted: dict[str, Any], passes: bool) -> None:
    """Every operator, on a record that has the field and one that has not."""
    assert Filter.parse(wanted).matches(RECORD) is passes


def test_a_record_without_metadata_has_no_field() -> None:
    """None is like an empty object."""
    assert Filter.parse({"year": {"$exists": False}}).matches(None)
    assert not Filter.parse({"year": 1999}).matches(None)


@pytest.mark.parametrize(
    ("wanted", "param", "message"),
    [
        ({}, "filter", "a filter is {}; send an object with a condition"),
        ([], "filter", "a filter is"),
        ({"year": {}}, "filter.year", "'year' has no condition; use one of"),
        ({"year": {"$near": 3}}, "filter.year.$near", "'year' has the operator '$near'; use one of"),
        ({"year": {"$in": 3}}, "filter.year.$in", "'year' $in has 3; give it a list"),
        ({"year": {"$in": [None]}}, "filter.year.$in", "'year' $in has None"),
        ({"year": [1, 2]}, "filter.year", "use $in"),
        ({"year": None}, "filter.year", "'year' $eq has None"),
        ({"year": 1 << 64}, "filter.year", "whole ones of 64 bits"),
        ({"year": {"$gt": True}}, "filter.year.$gt", "'year' $gt has True; compare with a number or a text"),
        ({"year": {"$exists": 1}}, "filter.year.$exists", "use true or false"),
        ({"$or": []}, "filter.$or", "$or has []; give it a list of filters"),
        ({"$or": [{"a": 1}, {"$gt": 1}]}, "filter.$or[1].$gt", "operators stand under a field"),
        ({"$not": 3}, "filter.$not", "a filter is 3"),
        ({"year": {"$not": {"$gt": [1]}}}, "filter.year.$not.$gt", "has a list"),
    ],
)
def test_a_malformed_filter_is_named(wanted: Any, param: str, message: str) -> None:
    """The error says where, what is there, and what may be."""
    with pytest.raises(InvalidRequest) as caught:
        Filter.parse(wanted)

    assert caught.value.param == param
    assert message in caught.value.message


def test_depth_is_bounded() -> None:
    """Deep nesting is refused, through either kind of $not."""
    outer: dict[str, Any] = {"a": 1}
    under: Any = {"$gt": 1}
    for _ in range(DEEPEST + 1):
        outer, under = {"$not": outer}, {"$not": under}

    for wanted in (outer, {"a": under}):
        with pytest.raises(InvalidRequest, match=f"deeper than {DEEPEST}"):
            Filter.parse(wanted)


@pytest.mark.parametrize(
    "wanted", [{"$or": [{"a": 1}] * (MOST_TESTS + 1)}, {"a": {"$in": list(range(MOST_VALUES + 1))}}]
)
def test_size_is_bounded(wanted: dict[str, Any]) -> None:
    """Too many conditions or values are refused."""
    with pytest.raises(InvalidRequest, match="are allowed"):
        Filter.parse(wanted)


def test_fields_are_those_looked_at() -> None:
    """Nested ones as well."""
    wanted = Filter.parse({"a": 1, "$or": [{"b": 2}, {"$not": {"c": {"$exists": True}}}]})

    assert wanted.fields == {"a", "b", "c"}


def test_the_key_is_that_of_the_meaning() -> None:
    """The order of fields does not matter; 1 and true are not the same."""
    assert Filter.parse({"a": 1, "b": 2}).key == Filter.parse({"b": 2, "a": 1}).key
    assert Filter.parse({"a": 1}).key != Filter.parse({"a": True}).key


def test_an_unknown_field_is_named_with_those_known() -> None:
    """And with the one that was probably meant."""
    with pytest.raises(
        InvalidRequest, match=r"no record has the field 'yaer'; did you mean 'year'\? known are genre, year"
    ) as caught:
        Filter.parse({"$or": [{"genre": "a"}, {"yaer": 1}]}).check({"genre": {"string"}, "year": {"int"}})

    assert caught.value.param == "filter.$or[1].yaer"


def test_many_known_fields_are_cut() -> None:
    """An error stays a line."""
    with pytest.raises(InvalidRequest, match=r"f11 and 88 more$"):
        Filter.parse({"xyz": 1}).check({f"f{i:02}": {"int"} for i in range(100)})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"year": "1999"}, "'year' $eq '1999' never matches: the value is of kind string, the field of int"),
        ({"seen": 1}, "of kind int, the field of bool"),
        ({"year": {"$in": [1, "x"]}}, "'year' $in 'x'"),
        ({"tags": {"$gt": "a"}}, "of kind string, the field of strings"),
    ],
)
def test_a_value_of_a_kind_that_the_field_never_has_is_named(wanted: dict[str, Any], message: str) -> None:
    """Field, operator, value and both kinds."""
    with pytest.raises(InvalidRequest) as caught:
        Filter.parse(wanted).check({"year": {"int"}, "seen": {"bool"}, "tags": {"strings"}})

    assert message in caught.value.message


def test_numbers_may_be_compared_with_numbers_of_the_other_kind() -> None:
    """And `$exists` asks for no kind; a field of two kinds takes values of both."""
    types = {"year": {"int"}, "stars": {"float"}, "mixed": {"int", "string"}}

    for wanted in ({"year": 1.5}, {"stars": 2}, {"mixed": {"$in": [1, "a"]}}, {"mixed": {"$exists": False}}):
        Filter.parse(wanted).check(types)

    with pytest.raises(InvalidRequest, match="no record has metadata yet"):
        Filter.parse({"year": 1}).check({})


def test_a_filter_asked_again_is_not_parsed_again() -> None:
    """An equal object is enough; one that is no dictionary is parsed each time, to the same meaning."""
    filters = CheckedFilters({"year": {"int"}})
    first = filters.of({"year": {"$gte": 1990}})

    assert filters.of({"year": {"$gte": 1990}}) is first
    assert filters.of(MappingProxyType({"year": {"$gte": 1990}})).key == first.key


def test_values_that_python_calls_equal_are_told_apart() -> None:
    """1 and true are not the same in JSON."""
    filters = CheckedFilters({"seen": {"bool", "int"}})

    assert filters.of({"seen": 1}).matches({"seen": 1})
    assert not filters.of({"seen": True}).matches({"seen": 1})


def test_a_wrong_filter_is_told_each_time() -> None:
    """Whether it is malformed or asks for a field that is not there."""
    filters = CheckedFilters({"year": {"int"}})

    for wanted in ({"genre": "drama"}, {"year": {"$near": 1}}, ["year"], {"year": {1999}}) * 2:
        with pytest.raises(InvalidRequest):
            filters.of(wanted)
    assert len(filters._kept) == 0


def test_filters_kept_are_few_and_small() -> None:
    """The latest 128, and none of more than 4 KiB."""
    filters = CheckedFilters({"year": {"int"}})
    for year in range(300):
        filters.of({"year": year})
    filters.of({"year": {"$in": list(range(2000))}})

    assert len(filters._kept) == 128
    assert filters.of({"year": 299}) is filters.of({"year": 299})
