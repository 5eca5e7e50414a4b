"""Work in processes of their own, started anew or forked from a nursery."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from importlib import import_module

import pytest

from handcap.child import Child, ChildEnded, Nursery
from handcap.errors import ReconstructionError

_JOBS = """
import os, signal
from handcap.errors import ReconstructionError

def count(job, say):
    for k in range(job):
        say(k)
    print("what a library prints")

def die(job, say):
    say("begun")
    os.kill(os.getpid(), signal.SIGKILL)

def refuse(job, say):
    raise ReconstructionError(job, mend="do otherwise")

def name(job, say):
    say(os.getpid())
    say(os.getppid())

def wait(job, say):
    say("begun")
    signal.pause()
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Functions that this process and its children can import."""
    (tmp_path / "jobs_of_children.py").write_text(_JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    return import_module("jobs_of_children")


@pytest.fixture(params=["started anew", "forked"])
def nursery(request, jobs):
    if request.param == "started anew":
        yield None
        return
    there = Nursery(["jobs_of_children"])
    yield there
    there.close()


def said(*of):
    with closing(Child(*of)) as child:
        return list(child)


def test_a_child_says_everything_in_order(jobs, nursery):
    assert said(jobs.count, 5, nursery) == [0, 1, 2, 3, 4]


def test_one_nursery_has_many_children_at_once(jobs):
    nursery = Nursery(["jobs_of_children"])
    children = [Child(jobs.name, None, nursery) for _ in range(3)]
    told = [list(child) for child in children]
    for child in children:
        child.close()
    nursery.close()
    assert len({pid for pid, _ in told}) == 3
    assert len({parent for _, parent in told}) == 1


def test_what_stops_a_child_stops_its_listener(jobs, nursery):
    with pytest.raises(ReconstructionError, match="too dark"):
        said(jobs.refuse, "too dark", nursery)


def test_a_child_that_is_killed_has_ended_and_others_can_be_had(jobs, nursery):
    child = Child(jobs.die, None, nursery)
    assert next(child) == "begun"
    with pytest.raises(ChildEnded, match=f"code -{signal.SIGKILL.value}"):
        next(child)
    child.close()
    assert said(jobs.count, 1, nursery) == [0]


def test_a_child_is_ended_whatever_it_does(jobs, nursery):
    child = Child(jobs.wait, None, nursery)
    assert next(child) == "begun"
    child.close()
    child.close()


def test_a_nursery_that_is_killed_has_no_more_children(jobs):
    nursery = Nursery(["jobs_of_children"])
    _, parent = said(jobs.name, None, nursery)
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(ChildEnded, match="code -9"):
        Child(jobs.count, 1, nursery)
    nursery.close()


def test_a_nursery_that_cannot_import_is_told_as_an_ended_child(jobs, capfd):
    nursery = Nursery(["no_such_module"])
    with pytest.raises(ChildEnded, match="code 1"):
        Child(jobs.count, 1, nursery)
    nursery.close()
    assert "no_such_module" in capfd.readouterr().err
