"""The live window and the data set build the same observations; faults never reach the policy as an old sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.config import ConfigError, from_mapping
from cdp.data.align import latest_at_or_before, select_ticks
from cdp.data.collect import collect
from cdp.data.dataset import DemoDataset
from cdp.data.episode import EpisodeReader
from cdp.data.normalise import MinMax, Stats
from cdp.data.preprocess import ObservationError, lowdim_rows, proprioception, resize_image
from cdp.data.spec import ObservationSpec
from cdp.data.window import ObservationWindow

MS = 1_000_000
SPEC = ObservationSpec(image_size=16)
UNIT = Stats(MinMax(-np.ones(10), np.ones(10)), MinMax(-np.ones(11), np.ones(11)))
POSE = [0.3, 0.0, 0.4, 1.0, 0.0, 0.0, 0.0]
PICTURE = np.zeros((20, 30, 3), np.uint8)


def replay(path, window, order):
    """Windows by stamp of an episode replayed through the live window; ``order`` sorts the messages as they would arrive."""
    messages = []
    with EpisodeReader(path) as episode:
        for i, stamp in enumerate(episode.stamps_ns("agentview_image")):
            messages.append((int(stamp), "agentview_image", episode.image(i)))
        for stream in ("eef_pose", "gripper_width", "joint_pos"):
            messages += [(int(s), stream, v) for s, v in zip(episode.stamps_ns(stream), episode.column(stream), strict=True)]
    windows = {}
    for stamp, stream, value in sorted(messages, key=order):
        if window.add_image(stamp, value) if stream == "agentview_image" else window.add(stream, stamp, value):
            windows[window.stamp_ns] = window.get()
    return windows


ARRIVALS = {
    "by stamp": lambda m: (m[0], m[1]),
    "images 80 ms late": lambda m: (m[0] + 80 * MS * (m[1] == "agentview_image"), m[1]),
    "poses 60 ms late": lambda m: (m[0] + 60 * MS * (m[1] == "eef_pose"), m[1]),
    "grippers 90 ms late": lambda m: (m[0] + 90 * MS * (m[1] == "gripper_width"), m[1]),
}


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("to", [1, 2, 3])
@pytest.mark.parametrize("keys", [SPEC.lowdim_keys, ("robot0_joint_pos", "robot0_eef_quat", "robot0_gripper_qpos")])
def test_replayed_episode_gives_the_data_sets_windows_exactly(reach, tmp_path, arrival, to, keys):
    spec = ObservationSpec(image_size=16, window=to, lowdim_keys=keys)
    path = reach(ticks=7).write(tmp_path)
    collect([path], tmp_path / "d.hdf5", spec, valid_fraction=0.0)
    data = DemoDataset(tmp_path / "d.hdf5", "train", spec, horizon=4)
    live = list(replay(path, ObservationWindow(spec, data.stats), ARRIVALS[arrival]).values())
    assert len(live) == len(data) == 7
    batch = data.batch(range(7))
    for k, window in enumerate(live):
        np.testing.assert_array_equal(window["image"], batch["image"][k])
        np.testing.assert_array_equal(window["lowdim"], batch["lowdim"][k])
        assert window["lowdim"].dtype == np.float32 and window["image"].shape == (to, 16, 16, 3)


def feed(window, t_ns, image=True, pose=True):
    done = window.add_image(t_ns, PICTURE) if image else False
    if pose:
        done |= window.add("eef_pose", t_ns, POSE)
    return window.add("gripper_width", t_ns, [0.04]) or done


def test_tick_waits_for_a_sample_that_is_not_older():
    window = ObservationWindow(SPEC, UNIT)
    window.add("eef_pose", 95 * MS, POSE)
    window.add("gripper_width", 95 * MS, [0.04])
    assert not window.add_image(100 * MS, PICTURE) and window.pending_ns == 100 * MS
    assert not window.add("gripper_width", 105 * MS, [0.08])
    assert window.missing(105 * MS) == "waiting for the first complete observation"
    assert window.add("eef_pose", 105 * MS, POSE)
    assert window.missing(105 * MS) is None and window.pending_ns is None
    # The sample taken is the one before the image, 0.04 m, and not the one that completed it.
    assert window.get()["lowdim"][0, -1] == np.float32(0.02)


def test_silent_stream_stops_the_window_and_its_return_restarts_it():
    window = ObservationWindow(SPEC, UNIT)
    for t in (0, 100, 200):
        assert feed(window, t * MS)
    assert not feed(window, 300 * MS, pose=False)
    assert window.missing(300 * MS) is None  # the tick still waits
    assert not feed(window, 400 * MS, pose=False)
    assert window.missing(400 * MS) == "eef_pose came too late for the image"
    with pytest.raises(ObservationError, match="empty"):
        window.get()
    assert not feed(window, 500 * MS, pose=False)
    assert "the newest eef_pose is 0.30 s old" in window.missing(500 * MS)
    assert feed(window, 600 * MS)
    assert window.missing(600 * MS) is None


def test_old_sample_is_not_used_beyond_the_tolerance():
    window = ObservationWindow(SPEC, UNIT)
    window.add("eef_pose", 40 * MS, POSE)
    window.add("gripper_width", 100 * MS, [0.04])
    window.add_image(100 * MS, PICTURE)
    assert not window.add("eef_pose", 160 * MS, POSE)
    assert window.missing(160 * MS) == "no eef_pose within 0.05 s before the image"


def test_hole_in_the_images_pads_anew():
    window = ObservationWindow(SPEC, UNIT)
    for t, value in ((0, 10), (100, 20), (300, 30)):
        window.add_image(t * MS, np.full_like(PICTURE, value))
        feed(window, t * MS, image=False)
    assert window.get()["image"][:, 0, 0, 0].tolist() == [30, 30]


def test_clock_that_goes_back_starts_anew_and_a_late_image_is_ignored():
    window = ObservationWindow(SPEC, UNIT)
    assert feed(window, 100_000 * MS)
    assert not window.add_image(99_990 * MS, PICTURE)
    assert window.stamp_ns == 100_000 * MS
    assert feed(window, 10 * MS)
    assert window.stamp_ns == 10 * MS


@pytest.mark.parametrize(
    ("stream", "value", "message"),
    [
        ("eef_pose", [np.nan, 0, 0, 1, 0, 0, 0], "eef_pose: .* is not finite"),
        ("eef_pose", [0, 0, 0, 0, 0, 0, 0], "zero quaternion"),
        ("gripper_width", [0.1, 0.1], "a sample has 1 numbers, not 2"),
        ("elbow", [0.1], "'elbow' is no stream"),
    ],
)
def test_a_bad_sample_is_refused_and_leaves_the_window_as_it_was(stream, value, message):
    window = ObservationWindow(SPEC, UNIT)
    feed(window, 0)
    with pytest.raises(ObservationError, match=message):
        window.add(stream, 1, value)
    assert window.stamp_ns == 0 and window.missing(0) is None


def test_bad_image_is_refused_and_the_next_one_serves():
    window = ObservationWindow(SPEC, UNIT)
    with pytest.raises(ObservationError, match=r"\(H, W, 3\) uint8"):
        window.add_image(0, np.zeros((4, 4), np.uint8))
    assert feed(window, 1 * MS)


def test_memory_is_bounded():
    window = ObservationWindow(SPEC, UNIT)
    for t in range(20_000):
        window.add("eef_pose", t * MS, POSE)
    assert len(window._streams["eef_pose"].stamps_ns) < 4_100


def test_spec_refuses_what_cannot_be():
    with pytest.raises(ConfigError, match=r"camera_rate_hz: 5\.0 is below rate_hz 10\.0"):
        from_mapping(ObservationSpec, {"camera_rate_hz": 5})
    with pytest.raises(ConfigError, match="lowdim_keys"):
        from_mapping(ObservationSpec, {"lowdim_keys": []})
    assert SPEC.lowdim_width == 11 and SPEC.streams == ("eef_pose", "gripper_width")


@given(st.lists(st.integers(0, 1000), min_size=0, max_size=30), st.integers(-10, 1100), st.integers(0, 200))
def test_alignment_equals_its_definition(stamps, t, tolerance):
    stamps = sorted(stamps)
    fitting = [i for i, s in enumerate(stamps) if t - tolerance <= s <= t]
    assert latest_at_or_before(np.asarray(stamps), t, tolerance) == (fitting[-1] if fitting else None)


@given(st.lists(st.integers(20, 50), min_size=3, max_size=60))
def test_ticks_keep_their_spacing_with_jitter(gaps_ms):
    stamps = np.cumsum(gaps_ms) * MS
    chosen = stamps[select_ticks(stamps, ObservationSpec())]
    spacing_ms = np.diff(chosen) / MS
    assert np.all(spacing_ms >= 100 - 50 / 3 - 1e-3) and np.all(spacing_ms < 100 - 50 / 3 + 50)


def test_every_third_of_30_hz():
    stamps = [k * 1_000_000_000 // 30 for k in range(31)]
    assert select_ticks(stamps, ObservationSpec()).tolist() == list(range(0, 31, 3))


def test_resize_averages_areas():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:2, :4] = 100
    image[0, 0] = 20
    small = resize_image(image, 2)
    assert small[0, 0].tolist() == [90] * 3 and small[1, 1].tolist() == [0] * 3
    with pytest.raises(ObservationError, match="8x4 pixels is smaller than the 5x5"):
        resize_image(image, 5)


@pytest.mark.parametrize(("height", "width", "size"), [(480, 640, 96), (48, 64, 16), (40, 52, 10), (30, 30, 10), (50, 64, 16), (21, 40, 7)])
def test_a_resized_image_is_the_mean_over_each_pixels_area(height, width, size):
    """Against the integral of the piecewise constant image, whichever way it is computed."""
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def shares(count):
        edges = np.arange(size + 1) * count / size
        begin, end = np.arange(count), np.arange(1, count + 1)
        return np.clip(np.minimum(end, edges[1:, None]) - np.maximum(begin, edges[:-1, None]), 0.0, None) * size / count

    expected = np.einsum("ih,hwc,jw->ijc", shares(height), image.astype(np.float64), shares(width), optimize=True)
    assert np.abs(resize_image(image, size) - expected).max() <= 0.51


def test_rotation_does_not_depend_on_the_sign_of_the_quaternion():
    pose = np.array([0.1, 0.2, 0.3, 0.5, -0.5, 0.5, -0.5])
    flipped = pose * np.array([1, 1, 1, -1, -1, -1, -1])
    rows = [lowdim_rows(proprioception({"eef_pose": p}), ("robot0_eef_rot6d", "robot0_eef_quat")) for p in (pose, flipped)]
    np.testing.assert_array_equal(*rows)
    assert rows[0][-1] > 0
