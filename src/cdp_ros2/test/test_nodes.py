"""How a node is started: its arguments, parameters, environment and output."""

from pathlib import Path

import pytest
import yaml


def values(text: str) -> dict:
    """Parameters in a file, whatever node it names."""
    (node,) = yaml.safe_load(text).values()
    return node["ros__parameters"]


def test_order_of_arguments(ws):
    (ws.share / "base.yaml").write_text("/**:\n  ros__parameters:\n    rate_hz: 5\n")
    path = ws.launch_file("""
        SetParameter("use_sim_time", True),
        DeclareLaunchArgument("rate", default_value="20"),
        Node(
            package="probe_pkg", executable="probe", name="policy", namespace="left", arguments=["note", "--flag"],
            parameters=[PathJoinSubstitution([FindPackageShare("probe_pkg"), "base.yaml"]), {"rate_hz": LaunchConfiguration("rate")}],
            remappings=[("image", "/agentview/image_raw"), ("a", "b")],
        ),
    """)
    assert ws.run("launch", path)[0] == 0
    argv = ws.note()["argv"]
    assert argv[:3] == ["note", "--flag", "--ros-args"]
    places = [argv.index(word) for word in ("__node:=policy", "__ns:=/left", "use_sim_time:=true", "image:=/agentview/image_raw", "a:=b")]
    files = [index for index, word in enumerate(argv) if word == "--params-file"]
    assert places[0] < places[1] < places[2] < files[0] < files[1] < places[3] < places[4]
    # Later files override earlier ones: the dictionary comes second.
    assert argv[files[0] + 1] == str(ws.share / "base.yaml")
    assert values(ws.note()["texts"][1]) == {"rate_hz": 20}


def test_parameters_keep_their_types(ws):
    path = ws.launch_file("""
        DeclareLaunchArgument("ip", default_value="10"),
        Node(package="probe_pkg", executable="probe", name="n", parameters=[{
            "text": "slide", "number": 3, "real": 2.5, "switch": True, "stays_text": "7", "empty": "",
            "kept_text": ParameterValue(LaunchConfiguration("ip"), value_type=str),
            "made_real": ParameterValue(LaunchConfiguration("ip"), value_type=float),
            "of_argument": LaunchConfiguration("ip"), "joined": ["task_", LaunchConfiguration("ip")],
            "reals": [1, 2.5], "texts": ["a", "b"], "limits": {"speed": 0.5}, "list": [[LaunchConfiguration("ip")], [LaunchConfiguration("ip"), "1"]],
        }]),
    """)
    assert ws.run("launch", path)[0] == 0
    found = values(ws.note()["texts"][0])
    wanted = {
        "text": "slide",
        "number": 3,
        "real": 2.5,
        "switch": True,
        "stays_text": "7",
        "empty": "",
        "kept_text": "10",
        "made_real": 10.0,
        "of_argument": 10,
        "joined": "task_10",
        "reals": [1.0, 2.5],
        "list": [10, 101],
        "texts": ["a", "b"],
        "limits.speed": 0.5,
    }
    assert {key: (type(value), value) for key, value in found.items()} == {key: (type(v), v) for key, v in wanted.items()}


def test_parameter_files_made_for_a_node_are_removed(ws, subset_only):
    path = ws.launch_file('Node(package="probe_pkg", executable="probe", parameters=[{"a": 1}])')
    assert ws.run("launch", path)[0] == 0
    (made,) = ws.note()["files"]
    assert not Path(made).exists()


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ('parameters=["/no/such/file.yaml"]', "/no/such/file.yaml"),
        ('parameters=[{"a": ParameterValue("x", value_type=float)}]', "float"),
        ('parameters=[{"a": [1, "b"]}]', "one type"),
        ('parameters=[{"a": []}]', "one or more"),
        ('parameters=[{"a": LaunchConfiguration("none", default="")}]', "value_type=str"),
        ('parameters=[{"a": LaunchConfiguration("none", default="{b: 1}")}]', "dict"),
        ('output="loud"', "loud"),
        ('respawn="perhaps"', "perhaps"),
        ('sigterm_timeout="soon"', "soon"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(ws, subset_only, node, message):
    status, output = ws.run("launch", ws.launch_file(f'Node(package="probe_pkg", executable="probe", {node})'))
    assert status == 1
    assert message in output
    assert not list(ws.notes.iterdir())


def test_environment_scopes_and_conditions(ws):
    path = ws.launch_file("""
        DeclareLaunchArgument("sim", default_value="true"),
        GroupAction([SetEnvironmentVariable("CDP_IN", "group"), probe("note", "one")]),
        probe("note", "no", condition=UnlessCondition(LaunchConfiguration("sim"))),
        RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: [probe("note", "two")] if "one" in event.cmd else None)),
    """)
    assert ws.run("launch", path)[0] == 0
    assert [ws.note(n)["argv"] for n in (0, 1)] == [["note", "one"], ["note", "two"]]
    assert [ws.note(n)["env"].get("CDP_IN") for n in (0, 1)] == ["group", None]
    assert len(list(ws.notes.iterdir())) == 2


def test_includes_get_their_arguments_and_functions_their_context(ws):
    ws.launch_file('DeclareLaunchArgument("word"), probe("note", LaunchConfiguration("word"))', name="inner.launch.py")
    path = ws.launch_file(
        """
        DeclareLaunchArgument("task", default_value="slide"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource([FindPackageShare("probe_pkg"), "/launch/inner.launch.py"]),
            launch_arguments={"word": LaunchConfiguration("task")}.items(),
        ),
        OpaqueFunction(function=twice, kwargs={"suffix": "!"}),
        """,
        imports="""
        def twice(context, suffix):
            return [LogInfo(msg=["task is ", LaunchConfiguration("task"), suffix])]
        """,
    )
    status, output = ws.run("launch", path)
    assert status == 0
    assert ws.note()["argv"] == ["note", "slide"]
    assert "[INFO] [launch.user]: task is slide!" in output


def test_output_lines_are_prefixed_and_routed(ws):
    path = ws.launch_file('probe("note", output="screen"), TimerAction(period=0.5, actions=[probe("note", output="log")])')
    status, output = ws.run("launch", path)
    assert status == 0
    lines = output.splitlines()
    assert "[probe-1] out of note" in lines and "[probe-1] err of note" in lines
    assert "[probe-2] out of note" not in lines and "[probe-2] err of note" in lines
    logged = "".join(path.read_text() for path in (ws.root / "log").rglob("launch.log"))
    assert "[probe-2] out of note" in logged or "[probe-2]: out of note" in logged or "out of note" in logged


@pytest.mark.parametrize("emulate", [True, False])
def test_emulated_terminal(ws, emulate):
    path = ws.launch_file(f'probe("tty", output="screen", emulate_tty={emulate})')
    assert f"[probe-1] tty {emulate}" in ws.run("launch", path)[1].splitlines()


def test_a_missing_program_is_named(ws):
    status, output = ws.run("launch", ws.launch_file('ExecuteProcess(cmd=["/no/such/program"])'))
    assert status != 0
    assert "/no/such/program" in output
