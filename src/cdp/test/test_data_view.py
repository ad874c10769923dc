"""The contact sheet stands alone and tells what is wrong; the recording holds every row, or says how to get Rerun."""

import re
from xml.etree import ElementTree

import h5py
import imageio_ffmpeg
import numpy as np
import pytest

from cdp.data.demos import DataError
from cdp.data.view.plots import line_plot
from cdp.data.view.recording import rerun_recording
from cdp.data.view.sheet import contact_sheet, write_video


def test_the_sheet_stands_alone_and_says_what_is_wrong(make_demo_file, tmp_path):
    path, out = make_demo_file(demos=3, height=31, width=41), tmp_path / "sheet"
    with h5py.File(path, "r+") as file:
        file["data/demo_1/actions"][0, 0] = 1.5
        file["data/demo_2"].attrs["warnings"] = '["agentview_image: 12 Hz instead of 30"]'
        file["data/demo_0"].attrs["task"] = "<script>"
    assert contact_sheet(path, out) == 3
    page = (out / "index.html").read_text()
    cards = {name: page.split(f'id="{name}"')[1].split("</article>")[0] for name in ("demo_0", "demo_1", "demo_2")}
    assert "nothing to complain about" in cards["demo_0"] and "outside [-1, 1]" in cards["demo_1"] and "12 Hz instead of 30" in cards["demo_2"]
    assert "<script>" not in page and "&lt;script&gt;" in page
    # Nothing is fetched from elsewhere, and all that is named is there.
    named = re.findall(r'(?:src|poster|href)="([^"]+)"', page)
    assert len(named) == 6 and all((out / name).is_file() and "://" not in name for name in named)
    assert contact_sheet(path, out, first=1) == 1 and len(list((out / "media").iterdir())) == 2


def test_a_folder_that_is_no_sheet_is_left_alone(make_demo_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(DataError, match="is no contact sheet; nothing was written"):
        contact_sheet(make_demo_file(demos=1), tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_video_shows_every_row_in_order(tmp_path):
    images = np.repeat(np.arange(0, 200, 20, dtype=np.uint8), 33 * 47 * 3).reshape(10, 33, 47, 3)
    write_video(tmp_path / "v.mp4", images, 10.0)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "v.mp4"))
    about = next(reader)
    shown = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert about["size"] == (46, 32) and about["fps"] == 10.0 and len(shown) == 10
    np.testing.assert_allclose(shown, np.arange(0, 200, 20), atol=6)


def test_a_plot_spans_what_it_shows():
    values = np.stack([np.linspace(-1, 3, 5), np.zeros(5)], axis=-1)
    svg = ElementTree.fromstring(line_plot("a & b", "xy", values, duration_s=0.4))
    lines = [np.array([list(map(float, p.split(","))) for p in line.get("points").split()]) for line in svg.iter("polyline")]
    texts = [text.text for text in svg.iter("text")]
    assert len(lines) == 2 and "3" in texts and "-1" in texts and "a & b" in texts and "0.4 s" in texts
    # y grows downwards: the lowest value lies on the floor, the highest at the top, zero a quarter above the floor.
    floor, top = lines[0][0, 1], lines[0][-1, 1]
    assert floor > top and lines[1][:, 1] == pytest.approx([floor - (floor - top) / 4] * 5, abs=0.1)


def test_the_recording_holds_every_row(make_demo_file, tmp_path):
    rerun = pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -r requirements/data.txt")
    path, out = make_demo_file(demos=2), tmp_path / "d.rrd"
    assert rerun_recording(path, out) == 2
    if not hasattr(rerun, "dataframe"):
        assert out.stat().st_size > 1000
        return
    seen = rerun.dataframe.load_recording(str(out)).view(index="row", contents="/demo_1/**").select().read_all()
    assert seen.num_rows == 7 and "/demo_1/obs/agentview_image:EncodedImage:blob" in seen.schema.names
    with h5py.File(path) as file:
        positions = np.array(seen["/demo_1/obs/robot0_eef_pos:Scalars:scalars"].to_pylist())
        np.testing.assert_array_equal(positions.reshape(7, 3), file["data/demo_1/obs/robot0_eef_pos"][()])


def test_without_rerun_the_way_to_it_is_named(make_demo_file, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    with pytest.raises(DataError, match=r"pip install -r requirements/data\.txt"):
        rerun_recording(make_demo_file(demos=1), tmp_path / "d.rrd")
