"""What the subset lacks is refused by its name, when the launch file is read."""

import importlib

import pytest

pytestmark = pytest.mark.usefixtures("subset_only")


@pytest.mark.parametrize(
    "name",
    [
        "launch.actions.AppendEnvironmentVariable",
        "launch.actions.PushLaunchConfigurations",
        "launch.substitutions.Command",
        "launch.conditions.LaunchConfigurationEquals",
        "launch.event_handlers.OnProcessIO",
        "launch.LaunchIntrospector",
        "launch_ros.actions.ComposableNodeContainer",
        "launch_ros.actions.PushROSNamespace",
        "launch_ros.parameter_descriptions.ParameterFile",
        "launch.launch_description_sources.XMLLaunchDescriptionSource",
    ],
)
def test_an_unsupported_name_is_named(name):
    module, _, attribute = name.rpartition(".")
    with pytest.raises(ImportError, match=attribute):
        getattr(importlib.import_module(module), attribute)
    with pytest.raises(ImportError, match=attribute):
        exec(f"from {module} import {attribute}")


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("launch_ros.actions.Node(executable='x', prefix='gdb')", "prefix"),
        ("launch_ros.actions.Node(executable='x', cmd=['y'])", "cmd"),
        ("launch_ros.actions.Node(executable='x', parameters={'a': 1})", "parameters"),
        ("launch_ros.actions.LifecycleNode(executable='x', name='n', namespace='', autostart=True)", "autostart"),
        ("launch.actions.GroupAction([], forwarding=False)", "forwarding"),
        ("launch.actions.TimerAction(period=1.0, actions=[], cancel_on_shutdown=False)", "cancel_on_shutdown"),
        ("launch_ros.parameter_descriptions.ParameterValue('a', value_type=bytes)", "bytes"),
        ("launch.actions.RegisterEventHandler('handler')", "RegisterEventHandler"),
        ("launch.actions.EmitEvent(event='shutdown')", "EmitEvent"),
        ("launch.actions.DeclareLaunchArgument('a', choices=[])", "choices"),
        ("launch.actions.DeclareLaunchArgument('a', default_value='c', choices=['b'])", "choices"),
        ("launch.event_handlers.OnProcessExit(target_action='node', on_exit=[])", "target_action"),
    ],
)
def test_an_unsupported_argument_is_named(expression, name):
    import launch
    import launch_ros

    with pytest.raises((TypeError, RuntimeError, ImportError), match=name):
        eval(expression, {"launch": launch, "launch_ros": launch_ros})


def test_probing_a_module_for_special_names_is_harmless():
    import launch.actions

    assert not hasattr(launch.actions, "__wrapped__")
