"""Values as launch files write them."""

import math
import os

import pytest
from launch import LaunchContext
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import (
    EnvironmentVariable,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
)


@pytest.fixture
def context():
    context = LaunchContext()
    context.launch_configurations.update(task="slide", rate="10", sim="true")
    return context


@pytest.mark.parametrize(
    ("substitution", "value"),
    [
        (TextSubstitution(text="a b"), "a b"),
        (LaunchConfiguration("task"), "slide"),
        (LaunchConfiguration("none", default="x"), "x"),
        (LaunchConfiguration("none", default=[LaunchConfiguration("task"), "_y"]), "slide_y"),
        (PathJoinSubstitution(["/models", LaunchConfiguration("task"), "config.yaml"]), "/models/slide/config.yaml"),
        (PathJoinSubstitution(["/config", [LaunchConfiguration("task"), ".yaml"]]), "/config/slide.yaml"),
        (PythonExpression(["2 * ", LaunchConfiguration("rate")]), "20"),
        (PythonExpression(["'", LaunchConfiguration("task"), "' == 'slide' and ", LaunchConfiguration("rate"), " > 5"]), "True"),
        (PythonExpression("math.floor(pi)"), str(math.floor(math.pi))),
        (EqualsSubstitution(LaunchConfiguration("task"), "slide"), "true"),
        (EqualsSubstitution(LaunchConfiguration("task"), "lift"), "false"),
        (EqualsSubstitution(LaunchConfiguration("sim"), "True"), "true"),
        (EqualsSubstitution(LaunchConfiguration("rate"), "10.0"), "true"),
        (EqualsSubstitution(LaunchConfiguration("sim"), True), "true"),
        (EqualsSubstitution(LaunchConfiguration("rate"), 9), "false"),
        (NotEqualsSubstitution(LaunchConfiguration("task"), ""), "true"),
        (NotEqualsSubstitution(LaunchConfiguration("task"), "slide"), "false"),
    ],
)
def test_value(context, substitution, value):
    assert substitution.perform(context) == value


def test_environment_variable(context, monkeypatch):
    monkeypatch.setenv("CDP_PROBE", "here")
    context = LaunchContext()
    assert EnvironmentVariable("CDP_PROBE").perform(context) == os.environ["CDP_PROBE"] == "here"
    assert EnvironmentVariable("CDP_NOT_SET", default_value="there").perform(context) == "there"


@pytest.mark.parametrize("substitution", [LaunchConfiguration("none"), EnvironmentVariable("CDP_NOT_SET"), PythonExpression("nothing_at_all")])
def test_without_a_value_the_name_is_in_the_error(context, substitution):
    with pytest.raises(Exception, match=r"none|CDP_NOT_SET|nothing_at_all"):
        substitution.perform(context)


@pytest.mark.parametrize(("text", "holds"), [("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)])
def test_conditions(context, text, holds):
    assert IfCondition(text).evaluate(context) is holds
    assert UnlessCondition(text).evaluate(context) is not holds


@pytest.mark.parametrize("text", ["yes", "", "2"])
def test_a_condition_that_is_neither_is_refused(context, text):
    with pytest.raises(Exception, match="true"):
        IfCondition(text).evaluate(context)
