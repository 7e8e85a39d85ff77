"""Malformed catalogs: each is refused with file, line, path and remedy."""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.catalog import Catalog, shipped
from tenancy.errors import CatalogError, InvalidValue, Problem

GOOD = "catalog: c\nplans:\n  p: {}\n"


def problems(text: str, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(CatalogError) as caught:
        Catalog.from_text(text, source="plans.yaml", **options)
    assert caught.value.source == "plans.yaml"
    return caught.value.problems


def only(text: str, **options: Any) -> Problem:
    found = problems(text, **options)
    assert len(found) == 1, found
    return found[0]


def test_messages_have_file_line_path_and_remedy() -> None:
    text = (
        "catalog: c\n"
        "plans:\n"
        "  starter:\n"
        "    rate_limits:\n"
        "      api_requests:\n"
        "        window: 60s\n"
        "        limit: -5\n"
    )
    with pytest.raises(CatalogError) as caught:
        Catalog.from_text(text, source="plans.yaml")
    assert (
        "plans.yaml:7: plans.starter.rate_limits.api_requests.limit: "
        'expected a positive integer or "unlimited", got -5'
    ) in str(caught.value)
    assert isinstance(caught.value, InvalidValue)
    assert isinstance(caught.value, ValueError)


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    found = problems(
        "catalog: c\n"
        "prise: 3\n"
        "quotas:\n"
        "  users: {kind: count, period: day}\n"
        "default_plan: q\n"
        "plans:\n"
        "  p:\n"
        "    quotas: {users: -3, seats: 1}\n"
        "    price: .nan\n"
        "    title: a\n"
        "    title: b\n"
    )
    assert [(problem.line, problem.path) for problem in found] == [
        (2, "prise"),
        (4, "quotas.users.period"),
        (5, "default_plan"),
        (8, "plans.p.quotas.users"),
        (8, "plans.p.quotas.seats"),
        (9, "plans.p.price"),
        (11, "plans.p.title"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the document is empty"),
        (" \n\n", 1, "the document is empty"),
        ("\ufeff", 1, "the document is empty"),
        ("# nothing\n", 1, "expected a mapping, got nothing"),
        ("- a\n", 1, "expected a mapping, got a list"),
        ("plans", 1, 'expected a mapping, got "plans"'),
        ("3", 1, "expected a mapping, got 3"),
        ("catalog: c\n\tplans: {}\n", 2, "indent with spaces"),
        ("catalog: c\nplans: {p: {}\n", 3, "not YAML"),
        ("catalog: 'c\n", 2, "not YAML"),
        ("catalog: c\n plans: 3\n", 2, "not YAML"),
        ("catalog: \x07\n", 1, "not YAML"),
        (GOOD + "---\n" + GOOD, 4, "a second document begins here"),
        ("catalog: !!str c\nplans: {p: {}}\n", 1, "the tag tag:yaml.org,2002:str is not read"),
        ("catalog: !!python/object:os.system c\n", 1, "is not read"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("catalog: *x\n", 1, "*x stands before or inside &x"),
        ("plans: &x {p: *x}\n", 1, "*x stands before or inside &x"),
        ("catalog: c\nplans:\n  p: {<<: {price: 3}}\n", 3, "merge keys are not read"),
        ("catalog: c\ncatalog: d\nplans: {p: {}}\n", 2, "given on line 1, keep one"),
        (
            "catalog: c\nplans:\n  p: {price: .inf}\n",
            3,
            'expected a number or "unlimited", got .inf',
        ),
        ("catalog: c\nplans:\n  p: {price: 1e3}\n", 3, "without an exponent, got 1e3"),
        (f"catalog: c\nplans:\n  p: {{price: {'9' * 400}}}\n", 3, "a number of 400 digits"),
        ("catalog: c\nplans:\n  p: {price: 9999999999999999999}\n", 3, "expected a price"),
        ("catalog: c\nplans:\n  p: {title: [" + "[" * 40 + "\n", 3, "nested more than 32 levels"),
        (f"catalog: c\n{'k' * 300}: 1\nplans: {{p: {{}}}}\n", 2, "too long or not printable"),
        ('catalog: c\n"a\\x00": 1\nplans: {p: {}}\n', 2, "too long or not printable"),
        ('catalog: c\nplans: {p: {title: "\\ud800"}}\n', 2, "half of a surrogate pair"),
    ],
)
def test_malformed_yaml(text: str, line: int, message: str) -> None:
    problem = problems(text)[0]
    assert message in problem.message
    assert problem.line == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the document is empty"),
        ("[]", 1, "expected a mapping, got a list"),
        ('{"catalog": "c",}', 1, "expected a text in double quotes, got '}'"),
        ('{"catalog": "c" "plans": 1}', 1, "expected ',' or '}'"),
        ("{\n\"catalog\": 'c'}", 2, "expected a value"),
        ('{"catalog": "c"}\n x', 2, "expected the end of the text"),
        ('{"catalog": "c"', 1, "expected ',' or '}', got the end of the text"),
        ('{"catalog": 01}', 1, "expected ',' or '}'"),
        ('{"catalog": NaN}', 1, "expected a value"),
        ('{"catalog": Infinity}', 1, "expected a value"),
        ('{"catalog": -}', 1, "expected a value"),
        ('{"catalog": "c\x01"}', 1, "expected a text"),
        ('{"catalog": "\\x"}', 1, "expected a text"),
        ("{1: 2}", 1, "expected a text"),
        ('{"catalog": "c",\n"catalog": "d", "plans": {"p": {}}}', 2, "given on line 1, keep one"),
        ('{"catalog": "c", "plans": {"p":\n{"price": 1e3}}}', 2, "without an exponent"),
        ('{"catalog": "c", "plans": {"p":\n{"title": "\\ud800"}}}', 2, "half of a surrogate pair"),
        ("[" * 100_000, 1, "nested more than 32 levels deep"),
        ('{"a":' * 100_000, 1, "nested more than 32 levels deep"),
        ("// no comments\n{}", 1, "expected a value"),
    ],
)
def test_malformed_json(text: str, line: int, message: str) -> None:
    problem = problems(text, format="json")[0]
    assert message in problem.message
    assert problem.line == line


def test_words_of_yaml_1_1_are_text() -> None:
    """`no`, `on`, `yes` and dates are strings in YAML 1.2, also as names."""
    catalog = Catalog.from_text(
        "catalog: c\n"
        "version: 2024-01-01\n"
        "features: [no, on, yes, y]\n"
        "plans:\n"
        "  off: {title: no, features: [on, yes]}\n"
    )
    assert catalog.version == "2024-01-01"
    assert catalog.features == ("no", "on", "yes", "y")
    assert catalog.plans["off"].title == "no"
    problem = only(GOOD + "builtin_roles: no\n")
    assert problem.message == 'expected true or false, got "no"'


@pytest.mark.parametrize(
    ("written", "limit"),
    [("1_000", 1000), ("010", 10), ("0o17", 15), ("0x1F", 31), ("+5", 5), ("0", 0), ("-1", None)],
)
def test_spellings_of_whole_numbers(written: str, limit: int | None) -> None:
    text = (
        f"catalog: c\nquotas: {{u: {{kind: count}}}}\nplans: {{p: {{quotas: {{u: {written}}}}}}}\n"
    )
    assert Catalog.from_text(text).plans["p"].quotas["u"].limit == limit


@pytest.mark.parametrize(
    "written", ["5.0", "'5'", "5e0", "_5", "5_", "1__0", "five", "1,000", "null", ""]
)
def test_what_is_no_whole_number(written: str) -> None:
    text = "catalog: c\nquotas: {u: {kind: count}}\nplans:\n  p:\n    quotas:\n      u: "
    text += f"{written}\n"
    assert only(text).path == "plans.p.quotas.u"
    assert only(text).line == 6


def test_aliases_stand_for_whole_values() -> None:
    catalog = Catalog.from_text(
        "catalog: c\n"
        "quotas: {users: {kind: count}}\n"
        "plans:\n"
        "  a: {quotas: &few {users: 3}}\n"
        "  b: {quotas: *few}\n"
    )
    assert catalog.plans["b"].quotas["users"].limit == 3
    # What is wrong inside an alias is told where the alias stands too.
    found = problems("catalog: c\nplans:\n  a: {quotas: &x {z: 1}}\n  b:\n    quotas: *x\n")
    assert [(each.line, each.path) for each in found] == [
        (3, "plans.a.quotas.z"),
        (5, "plans.b.quotas.z"),
    ]


def test_a_bomb_of_aliases_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    started = time.process_time()  # not the time that others took
    assert "with all aliases written out" in problems("\n".join(lines))[0].message
    assert time.process_time() - started < 10
    chain = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))])
    assert "aliases nest more than 32 levels deep" in problems(chain)[0].message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def refused(source: str | Path) -> str:
        with pytest.raises(CatalogError) as caught:
            Catalog.load(source)
        assert len(caught.value.problems) == 1
        return str(caught.value)

    assert "no such file" in refused(tmp_path / "none.yaml")
    assert f"shipped are {', '.join(shipped)}" in refused("nothing-like-it")
    assert 'did you mean "agent-platform"?' in refused("agent-plattform")
    assert "cannot be read: Is a directory" in refused(tmp_path)
    assert "cannot be read" in refused("a\0b")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("catalog: c\nplans:\n  p: {title: Müller}\n".encode("latin-1"))
    assert f"{latin}:3: not UTF-8: byte 0xfc; save the file as UTF-8" in refused(latin)
    wide = tmp_path / "wide.yaml"
    wide.write_bytes(GOOD.encode("utf-16"))
    assert "not UTF-8" in refused(wide)
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (1 << 20) + b"\n")
    assert "larger than 1048576 bytes" in refused(huge)
    with pytest.raises(CatalogError, match="expected at most 1048576"):
        Catalog.from_text("#" * (1 << 20) + "\n")
    with pytest.raises(ValueError, match='expected "yaml" or "json"'):
        Catalog.from_text(GOOD, format="toml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "the float 1.5"),
        (float("nan"), "the float nan"),
        (Decimal("NaN"), "no usable number"),
        (Decimal("1E+400"), "no usable number"),
        (10**50, "the number is too large"),
        (object(), "got object"),
        (b"x", "got bytes"),
        ({1: 2}, "a key must be text, got 1"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_python_objects_that_are_no_document(value: Any, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.from_dict({"catalog": "c", "plans": {"p": {"price": value}}})
    assert any(message in str(problem) for problem in caught.value.problems)
    assert caught.value.problems[0].path.startswith("plans.p.price")


def test_python_objects_that_contain_themselves() -> None:
    loop: dict[str, Any] = {"catalog": "c"}
    loop["plans"] = loop
    with pytest.raises(CatalogError, match="nested more than 32 levels"):
        Catalog.from_dict(loop)


def test_problems_are_bounded() -> None:
    text = GOOD + "".join(f"x{i}: 1\n" for i in range(300))
    found = problems(text)
    assert len(found) == 101
    assert any("200 more errors are not shown" in problem.message for problem in found)


@given(st.text(max_size=200))
def test_any_text_is_a_catalog_or_a_catalog_error(text: str) -> None:
    for kind in ("yaml", "json"):
        with pytest.raises(CatalogError):
            Catalog.from_text(text, format=kind)  # type: ignore[arg-type]


SEED = """catalog: c
features: [sso, audit]
quotas: {users: {kind: count}, tokens: {kind: consumption, period: day, alerts: [80, 100]}}
roles: {support: {permissions: ["a:b"], inherits: [readonly]}}
plans:
  p: &p
    price: 29.90
    quotas: {users: 5, tokens: 1_000}
    rate_limits: {api: [10/s, {limit: 5, window: 60s}]}
  q: {extends: p, features: all}
"""


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(SEED)),
            st.integers(0, 6),
            st.sampled_from([*"{}[]:,&*!|>'\"#%@-?\n\t ~0", "- ", ": ", "\n  ", "...", "---", "é"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_damaged_catalogs_load_or_are_refused_with_a_place(
    edits: list[tuple[int, int, str]],
) -> None:
    text = SEED
    for at, drop, insert in edits:
        text = text[:at] + insert + text[at + drop :]
    try:
        catalog = Catalog.from_text(text)
    except CatalogError as error:
        last = text.count("\n") + 2
        for problem in error.problems:
            assert problem.message
            assert problem.line is not None
            assert 1 <= problem.line <= last
    else:
        assert Catalog.from_text(catalog.to_json(), format="json") == catalog


def test_reading_needs_no_deep_stack() -> None:
    limit = sys.getrecursionlimit()
    assert "32 levels" in problems("[" * (limit * 3))[0].message
    assert "32 levels" in problems("- " * (limit * 3))[0].message
