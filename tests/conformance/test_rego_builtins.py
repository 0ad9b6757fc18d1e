"""Every builtin that policies may use answers as it does in OPA, errors included."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import regorus
from opa_bindings import OpaEngine, OpaError, OpaUndefinedError

from adapters.rego.builtins import ARITY

FAILED = "failed"
PROBES = {
    "abs": ["abs(-3)", "abs(2.5)", "abs(input.text)"],
    "array.concat": ["array.concat([1], [2, 3])", "array.concat([], [])"],
    "array.reverse": ["array.reverse([1, 2, 3])", "array.reverse([])"],
    "array.slice": ["array.slice([1, 2, 3, 4], 1, 3)", "array.slice([1, 2], -1, 9)", "array.slice([1, 2], 2, 1)"],
    "base64.decode": ['base64.decode("aGk=")', 'base64.decode("*")'],
    "base64.encode": ['base64.encode("hi")', 'base64.encode("")'],
    "base64.is_valid": ['base64.is_valid("aGk=")', 'base64.is_valid("*")'],
    "base64url.decode": ['base64url.decode("aGk_")', 'base64url.decode("aGk")'],
    "base64url.encode": ['base64url.encode("hi?>")'],
    "bits.and": ["bits.and(6, 3)"],
    "bits.or": ["bits.or(6, 3)"],
    "ceil": ["ceil(1.2)", "ceil(-1.2)"],
    "concat": ['concat(",", ["a", "b"])', 'concat(",", {"b", "a"})', 'concat(",", [1])'],
    "contains": ['contains("abc", "bc")', 'contains("abc", "")', 'contains("abc", 1)'],
    "count": ["count([1, 2])", 'count({"a": 1})', 'count("añb")', "count(input.number)"],
    "endswith": ['endswith("abc", "bc")', 'endswith("abc", "x")'],
    "floor": ["floor(1.8)", "floor(-1.2)"],
    "format_int": ["format_int(255, 16)", "format_int(-5, 2)", "format_int(9, 10)"],
    "glob.match": [
        'glob.match("*.example.com", ["."], "api.example.com")',
        'glob.match("*.example.com", ["."], "a.b.example.com")',
        'glob.match("**.example.com", ["."], "a.b.example.com")',
        'glob.match("/a/*/c", ["/"], "/a/b/c")',
        'glob.match("{a,b}*", [], "bcd")',
    ],
    "graph.reachable": ['graph.reachable({"a": ["b"], "b": ["c"], "c": [], "d": []}, ["a"])', 'graph.reachable({"a": ["b"]}, ["a"])'],
    "hex.decode": ['hex.decode("6869")', 'hex.decode("zz")'],
    "hex.encode": ['hex.encode("hi")'],
    "indexof": ['indexof("abc", "c")', 'indexof("abc", "x")', 'indexof("añb", "b")'],
    "intersection": ["intersection({{1, 2}, {2, 3}})", "intersection(set())"],
    "is_array": ["is_array([1])", "is_array(1)"],
    "is_boolean": ["is_boolean(false)", "is_boolean(1)"],
    "is_null": ["is_null(null)", "is_null(1)"],
    "is_number": ["is_number(1.5)", 'is_number("1")'],
    "is_object": ["is_object({})", "is_object([])"],
    "is_set": ["is_set({1})", "is_set([1])"],
    "is_string": ['is_string("")', "is_string(1)"],
    "json.filter": ['json.filter({"a": {"b": 1, "c": 2}}, ["a/b"])', 'json.filter({"a": 1}, ["x"])'],
    "json.remove": ['json.remove({"a": {"b": 1, "c": 2}}, ["a/b"])', 'json.remove({"a": 1}, ["x"])'],
    "json.unmarshal": ['json.unmarshal("{\\"a\\": 1.5}")', 'json.unmarshal("{")'],
    "max": ["max([9, 23, 3])", 'max(["b", "a"])', "max({1, 2})", "max([])"],
    "min": ["min([9, 23, 3])", "min({1, 2})", "min([])"],
    "net.cidr_contains": [
        'net.cidr_contains("10.0.0.0/8", "10.1.2.3")',
        'net.cidr_contains("10.0.0.0/8", "11.0.0.0/16")',
        'net.cidr_contains("10.1.2.3/8", "10.200.0.0/16")',
        'net.cidr_contains("10.0.0.0/8", "10.0.0.0/7")',
        'net.cidr_contains("0.0.0.0/0", "2001:db8::1")',
        'net.cidr_contains("2001:DB8::/32", "2001:db8:0:1:2:3:4:5")',
        'net.cidr_contains("2001:db8::/32", "2001:db9::1")',
        'net.cidr_contains("::/0", "10.1.2.3")',
        'net.cidr_contains("10.0.0.0", "10.0.0.0")',
        'net.cidr_contains("10.0.0.0/33", "10.0.0.0")',
        'net.cidr_contains("10.0.0.0/8", "")',
        'net.cidr_contains("10.0.0.0/8", "10.1.2.3:80")',
        'net.cidr_contains("fe80::/64", "fe80::1%eth0")',
        'net.cidr_contains("10.0.0.0/8", input.number)',
    ],
    "numbers.range": ["numbers.range(1, 4)", "numbers.range(4, 1)"],
    "object.filter": ['object.filter({"a": 1, "b": 2}, ["a"])'],
    "object.get": ['object.get({"a": {"b": 1}}, ["a", "b"], 9)', 'object.get({"a": null}, ["a", "b"], 9)', 'object.get({"a": 1}, "x", 9)'],
    "object.keys": ['object.keys({"a": 1, "b": 2})'],
    "object.remove": ['object.remove({"a": 1, "b": 2}, ["a"])'],
    "object.subset": ['object.subset({"a": 1, "b": 2}, {"a": 1})', 'object.subset({"a": 1}, {"a": 2})', "object.subset({1, 2}, {1})"],
    "object.union": ['object.union({"a": {"b": 1}}, {"a": {"c": 2}})', 'object.union({"a": 1}, {"a": 2})'],
    "object.union_n": ['object.union_n([{"a": 1}, {"b": 2}, {"a": 3}])'],
    "product": ["product([2, 3, 4])", "product([])"],
    "regex.match": ['regex.match("^a+$", "aaa")', 'regex.match("(?i)B", "abc")', 'regex.match("(", "a")'],
    "regex.replace": ['regex.replace("abcab", "a(b)", "<$1>")', 'regex.replace("aaa", "a", "b")'],
    "replace": ['replace("aXbX", "X", "-")', 'replace("abc", "", "-")'],
    "round": ["round(1.5)", "round(2.4)", "round(-1.5)"],
    "sort": ["sort([3, 1, 2])", 'sort(["b", 1, null, true])', "sort({2, 1})"],
    "split": ['split("a,b", ",")', 'split("abc", "")', 'split("", ",")'],
    "sprintf": ['sprintf("%s is %d", ["a", 2])', 'sprintf("%v", [{"a": 1}])', 'sprintf("%s", ["é"])'],
    "startswith": ['startswith("abc", "ab")', 'startswith("abc", "x")', "startswith(1, 2)"],
    "strings.any_prefix_match": ['strings.any_prefix_match(["abc"], ["ab", "x"])', 'strings.any_prefix_match("abc", "x")'],
    "strings.any_suffix_match": ['strings.any_suffix_match(["abc"], ["bc", "x"])', 'strings.any_suffix_match("abc", "x")'],
    "strings.reverse": ['strings.reverse("abñ")'],
    "substring": ['substring("abcdef", 1, 3)', 'substring("abc", 1, -1)', 'substring("añb", 1, 1)', 'substring("abc", 5, 1)'],
    "sum": ["sum([1, 2.5])", "sum(set())"],
    "time.clock": ["time.clock(1700000000000000000)", 'time.clock([1700000000000000000, "UTC"])'],
    "time.date": ["time.date(1700000000000000000)"],
    "time.weekday": ["time.weekday(1700000000000000000)"],
    "trim": ['trim("xaxx", "x")'],
    "trim_left": ['trim_left("xax", "x")'],
    "trim_prefix": ['trim_prefix("abab", "ab")'],
    "trim_right": ['trim_right("xax", "x")'],
    "trim_space": ['trim_space("  a \\t")'],
    "trim_suffix": ['trim_suffix("abab", "ab")'],
    "type_name": ["type_name(1)", "type_name({1})", "type_name(null)", "type_name({})"],
    "union": ["union({{1}, {2}})", "union(set())"],
    "walk": ['[[p, v] | walk({"a": [1]}, [p, v])]'],
}


def module(expression: str) -> str:
    return f"package a\n\nr := {expression}\n"


def from_opa(expression: str) -> Any:
    with OpaEngine() as engine:
        engine.add_policy("a.rego", module(expression))
        try:
            return engine.eval_document("a.r", {"text": "a", "number": 1})
        except OpaUndefinedError:
            return None
        except OpaError:
            return FAILED


def from_embedded(expression: str) -> Any:
    engine = regorus.Engine()
    engine.add_policy("a.rego", module(expression))
    engine.set_input({"text": "a", "number": 1})
    try:
        found = engine.eval_rule_as_json("data.a.r")
    except RuntimeError:
        return FAILED
    return None if found == '"<undefined>"' else orjson.loads(found)


def test_every_builtin_is_probed():
    """A builtin that is allowed without having been compared is noticed."""
    assert PROBES.keys() == ARITY.keys()


@pytest.mark.parametrize("expression", [probe for probes in PROBES.values() for probe in probes])
def test_a_builtin_answers_as_in_opa(expression):
    """The same value, the same undefined or the same failure."""
    assert from_embedded(expression) == from_opa(expression)
