"""What the pages tell a reader to type exists: make targets, `cdp` commands, launch files with their arguments, nodes, files, parameters, links."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IDS = [str(path.relative_to(ROOT)) for path in PAGES]
# Folders that exist on a user's machine and not in the repository.
OF_THE_USER = ("data/", "runs/", "config/train/lab.yaml", "docker/.env")


def quoted(page: Path) -> str:
    """What a page shows as code, one piece a line."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def cdp_commands() -> set[str]:
    """Those of cdp itself, and those that other packages add by the entry-point group cdp.commands."""
    tree = ast.parse((ROOT / "src/cdp/cdp/cli.py").read_text(encoding="utf-8"))
    (table,) = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign) and "BUILT_IN" in ast.unparse(node).partition("=")[0]
    ]
    assert isinstance(table, ast.Dict)
    found = {str(key.value) for key in table.keys if isinstance(key, ast.Constant)}
    for setup in (ROOT / "src").glob("*/setup.py"):
        for group in re.findall(r'"cdp\.commands": \[(.*?)\]', setup.read_text(encoding="utf-8"), re.DOTALL):
            found |= set(re.findall(r'"([\w-]+)\s*=', group))
    return found


def launch_arguments() -> dict[str, set[str]]:
    """For each launch file the arguments that it, or what is shared by all of them, declares."""

    def declared(path: Path) -> set[str]:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call) and node.args]
        known = [call for call in calls if ast.unparse(call.func) in {"DeclareLaunchArgument", "switch"}]
        return {call.args[0].value for call in known if isinstance(call.args[0], ast.Constant)}

    shared = [ROOT / "launch/robot.launch.py", *(ROOT / "src/cdp_policy_node/cdp_policy_node").glob("launch_*.py")]
    everywhere = set().union(*(declared(path) for path in shared))
    return {path.name: declared(path) | everywhere for path in (ROOT / "launch").glob("*.launch.py")}


def executables() -> dict[str, set[str]]:
    return {
        path.parent.name: set(re.findall(r'"(\w+) = \w+(?:\.\w+)*:', path.read_text(encoding="utf-8"))) for path in (ROOT / "src").glob("*/setup.py")
    }


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page):
    code = quoted(page)
    assert set(re.findall(r"(?:^|[ ;&])make ([a-z][a-z0-9-]*)\b(?![ ]*=)", code, re.MULTILINE)) - make_targets() == set()
    assert set(re.findall(r"(?:^|[ ;&(]|entrypoint\.sh )cdp ([a-z][a-z-]+)\b", code, re.MULTILINE)) - cdp_commands() == set()
    ours = executables()
    for package, node in re.findall(r"ros2 run (cdp_\w+) (\w+)", code):
        assert node in ours[package], f"ros2 run {package} {node}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_launch_files_and_their_arguments_exist(page):
    files = launch_arguments()
    for name, rest in re.findall(r"ros2 launch cdp_policy_node (\S+\.launch\.py)([^\n;|#]*)", quoted(page)):
        assert name in files, name
        assert set(re.findall(r"\b(\w+):=", rest)) - files[name] == set(), name


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_exist(page):
    code = quoted(page)
    for name in re.findall(r"(?<![\w/.<>-])((?:config|launch|docker|tools|docs|requirements|benchmarks)/[\w./-]*\w)", code):
        assert name.startswith(OF_THE_USER) or (ROOT / name).exists() or (ROOT / f"{name}.launch.py").exists(), name


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve()
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


def test_the_lab_guide_gives_the_shipped_values():
    """Each row of its table of slow first motions names parameters of the file, what they are there, and something slower."""
    text = (ROOT / "docs/lab-guide.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| (`config/\w+\.yaml`)? *\| `", line)]
    checked, settings = 0, {}
    for file, names, shipped, slow in rows:
        if file:
            (settings,) = [node["ros__parameters"] for node in yaml.safe_load((ROOT / file.strip("`")).read_text(encoding="utf-8")).values()]
        for name, before, after in zip(re.findall(r"`(\w+)`", names), shipped.split(", "), slow.split(", "), strict=True):
            assert settings[name] == float(before) > float(after) > 0.0, name
            checked += 1
    assert checked == 9
