import multiprocessing

import numpy as np
import pytest
import trimesh

from cdp.config import ConfigError
from cdp_franka_sim import assets, gl
from cdp_franka_sim.camera import AgentCamera, Intrinsics
from cdp_franka_sim.render_thread import RenderThread


def _orange(image):
    rgb = image.astype(int)
    return (rgb[..., 0] > 90) & (rgb[..., 0] > 2 * rgb[..., 1]) & (rgb[..., 1] > rgb[..., 2])


@pytest.mark.parametrize("seed", [0, 5])
def test_the_block_is_where_the_camera_model_projects_it(sim, seed):
    sim.reset(seed)
    image = sim.render()
    assert image.shape == (480, 640, 3) and image.dtype == np.uint8
    camera = sim.make_camera()
    position, rotation = camera.pose()
    camera.close()
    half, pose = np.array([0.035, 0.035, 0.025]), sim.task_state().object_pose
    yaw = 2 * np.arctan2(pose[5], pose[6])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * half @ turn.T + pose[:3]
    pixels = camera.intrinsics.project((corners - position) @ rotation)
    rows, columns = np.nonzero(_orange(image))
    # The outline of the corners is the outline of the picture of the block, to the pixel.
    np.testing.assert_allclose([columns.min(), columns.max()], [pixels[:, 0].min(), pixels[:, 0].max()], atol=1.5)
    np.testing.assert_allclose([rows.min(), rows.max()], [pixels[:, 1].min(), pixels[:, 1].max()], atol=1.5)


def test_intrinsics_map_the_opening_angle_to_the_pictures_edge():
    camera = Intrinsics.from_fovy(640, 480, 60.0)
    top = camera.project(np.array([0.0, -np.tan(np.deg2rad(30.0)), 1.0]))
    np.testing.assert_allclose(top, [319.5, -0.5])


def test_a_picture_is_a_function_of_the_positions(sim):
    sim.reset(3)
    first = sim.render()
    sim.step(0.3)
    sim.reset(4)
    assert not np.array_equal(first, sim.render())
    sim.reset(3)
    assert np.array_equal(first, sim.render())


def test_the_render_thread_delivers_in_order_and_passes_on_a_failure(sim):
    thread = RenderThread(lambda: AgentCamera(sim.model, 64, 48))
    seen = []
    events = [thread.draw(sim.positions(), lambda rgb, k=k: seen.append((k, rgb.shape))) for k in range(3)]
    assert all(e.wait(20.0) for e in events)
    assert seen == [(k, (48, 64, 3)) for k in range(3)]
    thread.close()

    def broken():
        raise RuntimeError("no context")

    with pytest.raises(RuntimeError, match="no context"):
        RenderThread(broken)


def _light(arguments):
    source, cache = arguments
    return assets.light_mesh(source, 0.8, cache)


def test_meshes_are_made_lighter_once_by_processes_that_start_together(tmp_path):
    source = tmp_path / "ball.obj"
    trimesh.creation.icosphere(subdivisions=4).export(source)
    cache = tmp_path / "cache"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        paths = pool.map(_light, [(source, cache)] * 3)
    assert len(set(paths)) == 1 and [p.name for p in cache.iterdir()] == [paths[0].name]
    light, full = trimesh.load(paths[0]), trimesh.load(source)
    assert len(light.faces) == pytest.approx(0.2 * len(full.faces), rel=0.1)
    np.testing.assert_allclose(light.bounds, full.bounds, atol=0.03)


def test_a_reduction_that_would_leave_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="mesh_reduction"):
        assets.light_mesh(tmp_path / "x.obj", 1.0, tmp_path)


@pytest.mark.parametrize(("libraries", "expected"), [({"libEGL.so.1", "libOSMesa.so.8"}, "egl"), ({"libOSMesa.so.8"}, "osmesa"), (set(), None)])
def test_the_gl_backend_is_what_the_machine_has(monkeypatch, libraries, expected):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "")
    assert gl.choose_backend(libraries.__contains__) == expected


@pytest.mark.parametrize("name", ["DISPLAY", "MUJOCO_GL"])
def test_the_gl_backend_is_the_users_choice_where_there_is_one(monkeypatch, name):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setenv(name, "osmesa" if name == "MUJOCO_GL" else ":0")
    assert gl.choose_backend(lambda library: True) is None
