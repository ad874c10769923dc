"""The command `ros2`, as far as this workspace needs it.

ros2 launch cdp_policy_node franka_slide.launch.py --show-args
ros2 launch launch/franka_slide.launch.py record:=true
ros2 run cdp_franka_sim sim_node --ros-args -p seed:=3
ros2 pkg executables cdp_policy_node
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cdp_ros2 import index
from cdp_ros2.actions import DeclareLaunchArgument, IncludeLaunchDescription
from cdp_ros2.context import LaunchContext
from cdp_ros2.entity import LaunchDescription
from cdp_ros2.errors import LaunchError, UnsupportedError
from cdp_ros2.service import LaunchService
from cdp_ros2.sources import PythonLaunchDescriptionSource


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def parse_assignments(words: list[str]) -> dict[str, str]:
    """Return `name: value` of `name:=value` words. Raises LaunchError for another form."""
    found: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name or not value:
            raise LaunchError(f"malformed launch argument '{word}': expected name:=value, neither of them empty")
        found[name] = value
    return found


def check_known(given: dict[str, str], declared: list[DeclareLaunchArgument]) -> None:
    """Refuse what no launch file declares. Raises LaunchError naming what can be given."""
    names = [argument.name for argument in declared]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise LaunchError(f"unknown launch argument {', '.join(map(repr, unknown))}; there are: {', '.join(names) or 'none'}")


def show_arguments(declared: list[DeclareLaunchArgument]) -> None:
    """Print every argument with description and default."""
    say("Arguments (pass arguments as '<name>:=<value>'):")
    for argument in declared:
        say(f"\n    '{argument.name}':\n        {argument.description}")
        default = argument.describe_default()
        if default is not None:
            say(f"        (default: {default})")
    if not declared:
        say("\n  No arguments.")


def find_launch_file(package_or_path: str, words: list[str]) -> tuple[Path, list[str]]:
    """Return the launch file, and the words after it. Raises LaunchError where it is not found."""
    path = Path(package_or_path)
    if path.is_file():
        return path, words
    if not words or ":=" in words[0]:
        if "/" in package_or_path or path.suffix:
            raise LaunchError(f"launch file '{package_or_path}' does not exist")
        names = sorted(p.name for p in index.share(package_or_path).rglob("*.launch.py"))
        raise LaunchError(f"which launch file of package '{package_or_path}'? It has: {', '.join(names) or 'none'}")
    return index.launch_file(package_or_path, words[0]), words[1:]


def launch(options: argparse.Namespace) -> int:
    """Launch a file."""
    path, words = find_launch_file(options.package_or_path, options.words)
    given = parse_assignments(words)
    source = PythonLaunchDescriptionSource(str(path))
    context = LaunchContext()
    context.launch_configurations.update(given)
    declared = LaunchDescription([IncludeLaunchDescription(source)]).arguments(context)
    if options.show_args:
        show_arguments(declared)
        return 0
    check_known(given, declared)
    service = LaunchService(argv=words)
    service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=list(given.items())))
    return service.run()


def run(options: argparse.Namespace) -> int:
    """Become an executable of a package: signals and exit status are its own."""
    path = str(index.executable(options.package, options.executable))
    os.execv(path, [path, *options.words])


def pkg(options: argparse.Namespace) -> int:
    """Tell about packages."""
    if options.what == "list":
        for name in index.packages():
            say(name)
    elif options.what == "prefix":
        say(str(index.share(options.package) if options.share else index.prefix(options.package)))
    else:
        for name in [options.package] if options.package else index.packages():
            for path in index.executables(name):
                say(f"{name} {path.name}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(
        prog="ros2",
        description="launch, run and pkg: the part of ROS 2's command line that this workspace uses. Install ROS 2 for the rest.",
        epilog="(cdp-ros2-launch-subset, not the genuine ros2)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="{launch,run,pkg}")
    one = commands.add_parser("launch", help="run a launch file", allow_abbrev=False)
    one.add_argument("-s", "--show-args", "--show-arguments", action="store_true", help="print the file's arguments and end")
    one.add_argument("package_or_path", metavar="package_name | path", help="package with the launch file, or the path of one")
    one.add_argument("words", nargs="*", metavar="launch_file_name | name:=value", help="the file's name, then its arguments")
    one.set_defaults(function=launch)
    one = commands.add_parser("run", help="run an executable of a package")
    one.add_argument("package", metavar="package_name")
    one.add_argument("executable", metavar="executable_name")
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="argument", help="passed on to the executable")
    one.set_defaults(function=run)
    one = commands.add_parser("pkg", help="tell about packages")
    whats = one.add_subparsers(dest="what", required=True)
    whats.add_parser("list", help="print the names of all packages")
    two = whats.add_parser("prefix", help="print the install prefix of a package")
    two.add_argument("--share", action="store_true", help="print its share directory")
    two.add_argument("package", metavar="package_name")
    two = whats.add_parser("executables", help="print executables")
    two.add_argument("package", metavar="package_name", nargs="?")
    one.set_defaults(function=pkg)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run the command; a mistake of the user is one line on standard error and status 1."""
    options, rest = parser().parse_known_args(argv)
    # argparse leaves out what follows an option in the middle: `launch PACKAGE -s FILE`.
    if rest and (options.command != "launch" or any(word.startswith("-") for word in rest)):
        parser().error(f"unrecognized arguments: {' '.join(word for word in rest if word.startswith('-')) or ' '.join(rest)}")
    if rest:
        options.words += rest
    try:
        status: int = options.function(options)
    except (LaunchError, UnsupportedError) as error:
        sys.stderr.write(f"ros2 {options.command}: {error}\n")
        return 1
    return status
