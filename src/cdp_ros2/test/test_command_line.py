"""`ros2 launch`, `ros2 run` and `ros2 pkg` as typed."""

import pytest

ARGUMENTS = """
    DeclareLaunchArgument("task", default_value="slide", description="What to do.", choices=["slide", "lift"]),
    DeclareLaunchArgument("bundle", default_value=["models/", LaunchConfiguration("task")], description="The policy"),
    DeclareLaunchArgument("robot_ip", description="Address of the robot"),
"""


def test_show_args_prints_every_argument(ws):
    ws.launch_file(ARGUMENTS)
    status, output = ws.run("launch", "probe_pkg", "it.launch.py", "--show-args")
    assert status == 0
    assert "Arguments (pass arguments as '<name>:=<value>'):" in output
    assert "    'task':\n        What to do. Valid choices are: ['slide', 'lift']\n        (default: 'slide')" in output
    assert "    'bundle':\n        The policy\n        (default: 'models/' + LaunchConfiguration('task'))" in output
    assert "    'robot_ip':\n        Address of the robot\n" in output


def test_show_args_reaches_into_groups_and_included_files(ws):
    ws.launch_file('DeclareLaunchArgument("inner", default_value="1", description="Inner")', name="inner.launch.py")
    path = ws.launch_file("""
        DeclareLaunchArgument("which", default_value="inner", description="Which"),
        GroupAction([IncludeLaunchDescription(PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("probe_pkg"), "launch", "inner.launch.py"])
        ))]),
    """)
    status, output = ws.run("launch", path, "-s")
    assert status == 0
    assert "'which'" in output and "'inner'" in output


def test_show_args_of_a_file_without_arguments(ws):
    assert "No arguments." in ws.run("launch", ws.launch_file(""), "-s")[1]


@pytest.mark.parametrize("by_path", [False, True])
def test_arguments_reach_the_program(ws, by_path):
    path = ws.launch_file('DeclareLaunchArgument("word", default_value="a"), probe("note", LaunchConfiguration("word"))')
    which = [path] if by_path else ["probe_pkg", "it.launch.py"]
    assert ws.run("launch", *which)[0] == 0
    assert ws.run("launch", *which, "word:=b := c")[0] == 0
    assert [ws.note(n)["argv"] for n in (0, 1)] == [["note", "a"], ["note", "b := c"]]


def test_an_unknown_argument_is_refused_with_those_that_there_are(ws, subset_only):
    path = ws.launch_file(ARGUMENTS + 'probe("note")')
    status, output = ws.run("launch", path, "robot_ip:=1", "bundel:=x")
    assert status != 0
    assert "'bundel'" in output and "task, bundle, robot_ip" in output
    assert not list(ws.notes.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [(["task:=fly", "robot_ip:=1"], "fly"), ([], "robot_ip"), (["robot_ip:="], "robot_ip:="), (["robot_ip=1"], "robot_ip=1")],
)
def test_a_refused_or_missing_value_starts_nothing(ws, words, message):
    path = ws.launch_file(ARGUMENTS + 'probe("note")')
    status, output = ws.run("launch", path, *words)
    assert status != 0
    assert message in output
    assert not list(ws.notes.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launch", "no_such_pkg", "it.launch.py"], "no_such_pkg"),
        (["launch", "probe_pkg", "no_such.launch.py"], "no_such.launch.py"),
        (["launch", "/no/such.launch.py"], "such.launch.py"),
        (["run", "probe_pkg", "no_such_executable"], "o executable"),
        (["run", "no_such_pkg", "x"], "no_such_pkg"),
        (["pkg", "prefix", "no_such_pkg"], "ackage"),
    ],
)
def test_what_is_not_there_is_named(ws, words, message):
    ws.launch_file("")
    status, output = ws.run(*words)
    assert status != 0
    assert message in output
    assert "Traceback" not in output


def test_the_subset_lists_what_there_is(ws, subset_only):
    ws.launch_file("", name="one.launch.py")
    assert "one.launch.py" in ws.run("launch", "probe_pkg", "two.launch.py")[1]
    assert "one.launch.py" in ws.run("launch", "probe_pkg")[1]
    assert "probe" in ws.run("run", "probe_pkg", "no")[1]


def test_commands_outside_of_the_subset_are_refused(ws, subset_only):
    status, output = ws.run("topic", "list")
    assert status == 2
    assert "topic" in output
    status, output = ws.run("launch", ws.launch_file(""), "--debug")
    assert status == 2
    assert "--debug" in output


def test_an_error_in_the_launch_file_shows_where(ws):
    status, output = ws.run("launch", ws.launch_file("1 / 0"))
    assert status != 0
    assert "division by zero" in output


def test_run_becomes_the_executable(ws, subset_only):
    process = ws.start("run", "probe_pkg", "probe", "exit", "7", "--ros-args", "-p", "a:=b")
    process.communicate(timeout=20)
    assert process.returncode == 7
    assert ws.note()["pid"] == process.pid
    assert ws.note()["argv"] == ["exit", "7", "--ros-args", "-p", "a:=b"]


def test_pkg(ws):
    assert ws.run("pkg", "prefix", "probe_pkg") == (0, f"{ws.root / 'prefix'}\n")
    assert ws.run("pkg", "prefix", "--share", "probe_pkg") == (0, f"{ws.share}\n")
    assert ws.run("pkg", "executables", "probe_pkg") == (0, "probe_pkg probe\n")
    assert "probe_pkg" in ws.run("pkg", "list")[1].splitlines()
