"""Runs the peers' own readers on a file of demonstrations and on exports of it, and holds what they hand out to what the file holds.

``check_peers.py FILE FOLDER``, under a Python that has robomimic and lerobot (tools/check_peers.sh makes one). Exit code 1 where a check fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import h5py
import numpy as np

from cdp.data.convert_lerobot import from_lerobot, to_lerobot
from cdp.data.convert_robomimic import to_robomimic
from cdp.data.demos import demo_names, new_demos, open_demos, read_demo, write_demo, write_masks
from cdp.data.lerobot_operators import declare_operators

# Videos are made of so many demonstrations; everything else reads all of them.
EXPORTED = 3
HORIZON, STACK = 16, 2
LOWDIM = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "robot0_joint_pos")
# AV1 at LeRobot's own setting; 96-pixel pictures of a table lose this much at most on average, of 255.
VIDEO_TOLERANCE = 6.0


class Table:
    """One line a check, as soon as it is done."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    @contextmanager
    def check(self, peer: str, what: str, on: str) -> Iterator[list[str]]:
        """Run what is in the block; an exception is a failed check, and the next one is made all the same."""
        detail: list[str] = []
        begin, verdict = time.monotonic(), "ok"
        try:
            yield detail
        except Exception as error:  # noqa: BLE001 - whatever a peer's reader raises is the finding
            verdict = "FAILED"
            detail.append(f"{type(error).__name__}: {error}")
        self.rows.append({"peer": peer, "what": what, "on": on, "result": verdict, "detail": "; ".join(detail)})
        sys.stdout.write(f"{peer:10} {what:18} {on:22} {verdict:7} {time.monotonic() - begin:6.1f} s  {'; '.join(detail)}\n")
        sys.stdout.flush()


def script(module: str, *arguments: str) -> str:
    """Output of a peer's own command line program, run as its users run it."""
    # robomimic's scripts import torchvision, whose compiled part may not fit this torch.
    start = f"import sys, runpy; from cdp.data.lerobot_operators import declare_operators as d; d(); sys.argv={[module, *arguments]!r}; "
    done = subprocess.run([sys.executable, "-c", f"{start}runpy.run_module({module!r}, run_name='__main__')"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(" | ".join(done.stderr.strip().splitlines()[-3:]))
    return done.stdout


def dataset_info(path: Path) -> Callable[[list[str]], None]:
    """robomimic's get_dataset_info counts what the file holds, and does not complain about its actions."""

    def run(detail: list[str]) -> None:
        said = dict(line.split(": ", 1) for line in script("robomimic.scripts.get_dataset_info", "--dataset", str(path)).splitlines() if ": " in line)
        with open_demos(path) as file:
            names = demo_names(file)
            rows = sum(read_demo(file, name).rows for name in names)
        assert (int(said["total trajectories"]), int(said["total transitions"])) == (len(names), rows), said
        detail.append(f"{len(names)} trajectories, {rows} transitions, actions {float(said['action min']):.3f}..{float(said['action max']):.3f}")

    return run


def sequence_dataset(path: Path, next_obs: bool) -> Callable[[list[str]], None]:
    """robomimic's SequenceDataset hands out the file's rows, with frames stacked and sequences ahead, and torch makes batches of them."""

    def run(detail: list[str]) -> None:
        import robomimic.utils.obs_utils as obs_utils
        from robomimic.utils.dataset import SequenceDataset
        from torch.utils.data import DataLoader

        keys = (*LOWDIM, "agentview_image")
        with open_demos(path) as file:
            # robomimic opens the file in another mode than ours, so it must be closed by then.
            names = [name.decode() for name in file["mask/train"][()]]
            count = sum(read_demo(file, name).rows for name in names)
            first = {name: np.asarray(array[:]) for name, array in read_demo(file, names[0]).arrays.items()}
        with redirect_stdout(StringIO()):
            obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": list(LOWDIM), "rgb": ["agentview_image"]}}])
            data = SequenceDataset(
                str(path), keys, ("actions", "rewards", "dones"), STACK, HORIZON, filter_by_attribute="train", load_next_obs=next_obs
            )
        assert len(data) == count
        item, rows = data[STACK - 1], slice(STACK - 1, STACK - 1 + HORIZON)
        np.testing.assert_array_equal(item["actions"][STACK - 1 :], first["actions"][rows])
        for key in keys:
            np.testing.assert_array_equal(item["obs"][key][STACK - 1 :], first[f"obs/{key}"][rows])
        if next_obs:
            np.testing.assert_array_equal(item["next_obs"]["robot0_eef_pos"][STACK - 1 : -1], item["obs"]["robot0_eef_pos"][STACK:])
        batch = next(iter(DataLoader(data, batch_size=8, shuffle=True)))
        data.close_and_delete_hdf5_handle()
        detail.append(f"{len(data)} windows of {len(names)} demonstrations, batch {tuple(batch['obs']['agentview_image'].shape)}")

    return run


def playback(path: Path, video: Path) -> Callable[[list[str]], None]:
    """robomimic's playback_dataset makes a video of the pictures, a frame a row."""

    def run(detail: list[str]) -> None:
        import av

        arguments = ["--dataset", str(path), "--use-obs", "--render_image_names", "agentview_image", "--n", str(EXPORTED), "--video_skip", "1"]
        script("robomimic.scripts.playback_dataset", *arguments, "--video_path", str(video))
        with open_demos(path) as file, av.open(str(video)) as container:
            rows = sum(read_demo(file, name).rows for name in demo_names(file)[:EXPORTED])
            frames = sum(1 for _ in container.decode(video=0))
        assert frames == rows, f"{frames} frames of {rows} rows"
        detail.append(f"{frames} frames; with --use-obs, as its environment is not ours")

    return run


def lerobot_loader(file: Path, folder: Path, video: bool) -> Callable[[list[str]], None]:
    """LeRobot's LeRobotDataset loads the export, with action chunks and past pictures as its policies ask for them."""

    def run(detail: list[str]) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        to_lerobot(file, folder, video=video)
        period_s = 0.1
        ahead = {"action": [k * period_s for k in range(HORIZON)], "observation.images.agentview": [-period_s, 0.0]}
        data = LeRobotDataset(folder.name, root=folder, delta_timestamps=ahead)
        with open_demos(file) as source:
            demos = [read_demo(source, name) for name in demo_names(source)]
            assert (data.num_episodes, data.num_frames) == (len(demos), sum(demo.rows for demo in demos))
            k = demos[0].rows + 5
            item = data[k]
            target = demos[1].arrays["action_dict/abs_pos"][5 : 5 + HORIZON]
            np.testing.assert_allclose(item["action"][:, :3], target, atol=1e-6)
            pictures = np.moveaxis(item["observation.images.agentview"].numpy(), 1, -1) * 255.0
            lost = float(np.abs(pictures - demos[1].arrays["obs/agentview_image"][4:6]).mean())
            assert lost <= (VIDEO_TOLERANCE if video else 0.0), f"pictures are off by {lost:.2f} of 255 on average"
        detail.append(
            f"{data.num_episodes} episodes, {data.num_frames} frames, version {data.meta.info['codebase_version']}; pictures off by {lost:.2f} of 255"
        )

    return run


def round_trip(file: Path, folder: Path, back: Path, video: bool) -> Callable[[list[str]], None]:
    """What comes back from the export is what went in."""

    def run(detail: list[str]) -> None:
        from_lerobot(folder, back)
        count, worst = 0, 0.0
        with h5py.File(file) as left, h5py.File(back) as right:
            for name in demo_names(left):
                one, two = read_demo(left, name), read_demo(right, name)
                assert one.arrays.keys() == two.arrays.keys(), one.arrays.keys() ^ two.arrays.keys()
                for path, array in one.arrays.items():
                    count += 1
                    if video and path.endswith("_image"):
                        worst = max(worst, float(np.abs(array[:].astype(float) - two.arrays[path][:]).mean()))
                    else:
                        np.testing.assert_array_equal(array[:], two.arrays[path][:], err_msg=path)
        assert worst <= VIDEO_TOLERANCE, worst
        detail.append(f"{count} arrays the same, stamps among them" + (f"; pictures off by at most {worst:.2f} of 255 on average" if video else ""))

    return run


def first_demos(path: Path, out: Path, count: int) -> Path:
    """The first demonstrations of a file as a file of its own."""
    with open_demos(path) as file, new_demos(out) as new:
        names = demo_names(file)[:count]
        data = new.create_group("data")
        for name in names:
            write_demo(data.create_group(name), read_demo(file, name))
        data.attrs.update({**file["data"].attrs, "total": sum(read_demo(file, name).rows for name in names)})
        write_masks(new, {"train": names[1:] or names, "valid": names[:1] if len(names) > 1 else []})
    return out


def main(path: Path, folder: Path) -> int:
    """All checks."""
    declare_operators()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table = Table()
    exported, few = folder / "robomimic.hdf5", first_demos(path, folder / "few.hdf5", EXPORTED)
    to_robomimic(few, exported, next_obs=True)
    for name, file, following in (("the file", path, False), ("export with next_obs", exported, True)):
        for what, check in (
            ("get_dataset_info", dataset_info(file)),
            ("SequenceDataset", sequence_dataset(file, following)),
            ("playback_dataset", playback(file, folder / f"{file.stem}.mp4")),
        ):
            with table.check("robomimic", what, name) as detail:
                check(detail)
    for video in (True, False):
        kind = "video" if video else "lossless"
        with table.check("lerobot", "LeRobotDataset", f"export, {kind}") as detail:
            lerobot_loader(few, folder / f"lerobot_{kind}", video)(detail)
        with table.check("lerobot", "round trip", f"export, {kind}") as detail:
            round_trip(few, folder / f"lerobot_{kind}", folder / f"back_{kind}.hdf5", video)(detail)
    (folder / "results.json").write_text(json.dumps(table.rows, indent=2) + "\n")
    failed = sum(row["result"] != "ok" for row in table.rows)
    sys.stdout.write(f"check-peers: {len(table.rows) - failed} passed, {failed} failed on {path}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
