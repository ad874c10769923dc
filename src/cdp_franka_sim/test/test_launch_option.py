"""Launch arguments that are handed through by `--launch`."""

import argparse

import pytest

from cdp_franka_sim.ros_launch import LaunchError, add_launch_option, with_launch_option


def given(*words):
    parser = argparse.ArgumentParser()
    add_launch_option(parser)
    return parser.parse_args(words).launch


def test_what_is_given_is_added():
    assert given() == []
    both = given("--launch", "command_interface:=joint", "driver:=libfranka")
    assert with_launch_option({"task": "slide"}, both) == {"task": "slide", "command_interface": "joint", "driver": "libfranka"}
    assert with_launch_option({}, given("--launch", "image_topic:=/a:=b")) == {"image_topic": "/a:=b"}


@pytest.mark.parametrize("word", ["driver", "driver=libfranka", ":=libfranka", "driver:=", "a b:=c"])
def test_what_is_no_argument_is_refused_by_name(word):
    with pytest.raises(LaunchError, match="NAME:=VALUE"):
        with_launch_option({}, [word])


def test_what_the_command_sets_itself_or_comes_twice_is_refused():
    with pytest.raises(LaunchError, match="task is set"):
        with_launch_option({"task": "slide"}, ["task:=lift"])
    with pytest.raises(LaunchError, match="driver is set"):
        with_launch_option({}, ["driver:=none", "driver:=libfranka"])
