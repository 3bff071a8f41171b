"""Selectors are read, matched and refused as upstream does."""

import pytest

from scheduler.simulator.apiserver.errors import BadRequestError
from scheduler.simulator.apiserver.field_selectors import parse_field_selector
from scheduler.simulator.apiserver.label_selectors import matches_all, parse_label_selector
from scheduler.simulator.resources import NODES, PODS

LABELS = {"app": "web", "size": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,size", True),
        ("app!=web", False),
        ("other!=web", True),
        ("!app", False),
        ("!other", True),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("other notin (web)", True),
        ("size>4", True),
        ("size<4", False),
        ("app in ()", False),
        ("in in (in)", False),
    ],
)
def test_label_selectors_match(text, expected):
    assert matches_all(parse_label_selector(text), LABELS) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
    ],
)
def test_label_selectors_are_refused(text, message):
    with pytest.raises(BadRequestError) as refused:
        parse_label_selector(text)

    assert str(refused.value) == message


def test_field_selectors_match_what_a_pod_leaves_out():
    [unbound, not_done] = parse_field_selector("spec.nodeName=,status.phase!=Failed", PODS)

    pending = {"spec": {}, "status": {"phase": "Pending"}}

    assert unbound.matches(pending)
    assert not_done.matches(pending)


def test_a_node_without_the_field_counts_as_schedulable():
    [term] = parse_field_selector("spec.unschedulable=false", NODES)

    assert term.matches({"spec": {}})
    assert not term.matches({"spec": {"unschedulable": True}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.foo=x", "field label not supported: spec.foo"),
        ("spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'"),
    ],
)
def test_field_selectors_are_refused(text, message):
    with pytest.raises(BadRequestError) as refused:
        parse_field_selector(text, PODS)

    assert str(refused.value) == message
