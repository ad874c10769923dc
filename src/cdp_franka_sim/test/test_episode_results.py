import json

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from cdp_franka_sim.episode_media import ContactSheet, EpisodeVideo
from cdp_franka_sim.episode_results import EpisodeResult, RunResults, summary_line


def test_results_round_trip_through_json(tmp_path):
    results = RunResults(setup={"seed": 3})
    results.episodes = [EpisodeResult(3, True, 7.5, 0.01, "success"), EpisodeResult(4, False, 25.0, 0.2, "timeout")]
    results.observation_to_command_ms = [10.0, 20.0, 30.0]
    results.image_gaps_ms = [30.0, 30.0, 40.0]
    results.write(tmp_path / "results.json")
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["successes"] == 1 and read["success_rate"] == 0.5
    assert read["observation_to_command_ms"]["p50"] == 20.0
    assert read["inference_ms"] == {"p50": None, "p99": None, "count": 0}
    assert read["camera"]["rate_hz"] == pytest.approx(30.0) and read["camera"]["gap_ms"]["count"] == 3
    assert summary_line(read) == results.summary() and "camera 30.0 Hz" in results.summary()
    assert "success 1/2 (50 %" in results.summary() and "p50 20.0 ms" in results.summary()


def test_no_episode_is_said_and_is_valid_json(tmp_path):
    results = RunResults(setup={})
    results.write(tmp_path / "r.json")
    assert "no episode finished" in summary_line(json.loads((tmp_path / "r.json").read_text()))


def test_video_and_contact_sheet_can_be_read_back(tmp_path):
    frame = np.full((480, 640, 3), (200, 40, 40), np.uint8)
    video, sheet = EpisodeVideo(tmp_path / "v.mp4", 10.0), ContactSheet()
    for _ in range(12):
        video.add(frame, "seed 1")
        sheet.add(frame)
    sheet.end_episode("seed 1: success", True)
    assert not (tmp_path / "v.mp4").exists(), "a video under its name is a finished one"
    path = video.close()
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == (512, 384) and len(list(reader)) == 12
    picture = cv2.imread(str(sheet.write(tmp_path / "s.png")))
    assert picture.shape[0] >= 180
    b, g, r = picture[60, 60].astype(int)
    assert r > 150 and g < 90 and b < 90
