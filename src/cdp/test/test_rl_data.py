"""Reading transitions: both layouts against what was written, and every way a file can be wrong refused by name."""

import h5py
import numpy as np
import pytest

from cdp import cli
from cdp.rl.collect import Recipe, collect
from cdp.rl.environment import TaskError, make_task, rollout
from cdp.rl.search import cross_entropy_search
from cdp.rl.transitions import TransitionsError, read_transitions, write_minari

LENGTHS = (3, 1, 4)
ENDED = (True, False, False)


def episodes(lengths=LENGTHS, ended=ENDED, width=2):
    """Episodes whose observation k of episode e is e + k / 10, so that every successor is known."""
    made = []
    for number, (length, end) in enumerate(zip(lengths, ended, strict=True)):
        last = np.arange(length) == length - 1
        made.append(
            {
                "observations": np.repeat(number + np.arange(length + 1)[:, None] / 10, width, axis=1).astype(np.float32),
                "actions": np.full((length, 1), number, dtype=np.float32),
                "rewards": np.arange(length) + 1.0,
                "terminations": last & end,
                "truncations": last & (not end),
            }
        )
    return made


@pytest.fixture
def minari(tmp_path):
    return write_minari(tmp_path / "minari.hdf5", episodes(), {"task": "none"})


@pytest.fixture
def d4rl(tmp_path):
    path = tmp_path / "d4rl.hdf5"
    made = episodes()
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([e["observations"][:-1] for e in made])
        for name, source in (("actions", "actions"), ("rewards", "rewards"), ("terminals", "terminations"), ("timeouts", "truncations")):
            file[name] = np.concatenate([e[source] for e in made])
    return path


def test_minari_gives_every_transition_with_its_successor(minari):
    data = read_transitions(minari)
    assert (data.layout, len(data), data.notes["task"]) == ("minari", sum(LENGTHS), "none")
    np.testing.assert_allclose(data.next_observation - data.observation, 0.1, atol=1e-6)
    assert data.terminal.tolist() == [False, False, True] + [False] * 5, "a time limit is no end"
    assert data.episode_returns.tolist() == [6.0, 1.0, 10.0] and data.episode_lengths.tolist() == list(LENGTHS)
    assert data.action[:, 0].tolist() == [0] * 3 + [1] + [2] * 4


def test_more_than_ten_episodes_come_in_the_order_of_their_numbers(tmp_path):
    path = write_minari(tmp_path / "many.hdf5", episodes((1,) * 12, (False,) * 12), {})
    assert read_transitions(path).action[:, 0].tolist() == list(range(12))


def test_d4rl_drops_only_the_rows_whose_successor_is_not_there(d4rl):
    data = read_transitions(d4rl)
    # Kept: all three of the episode that ended, none of the single row, and the first three of the four that were cut off.
    assert (data.layout, len(data)) == ("d4rl", 6)
    alive = ~data.terminal
    np.testing.assert_allclose((data.next_observation - data.observation)[alive], 0.1, atol=1e-6)
    assert data.episode_returns.tolist() == [6.0, 1.0, 10.0], "returns count every reward"


def test_d4rl_with_stored_successors_keeps_every_row_and_without_timeouts_episodes_end_by_terminals(d4rl):
    with h5py.File(d4rl, "a") as file:
        file["next_observations"] = file["observations"][()] + 5.0
        del file["timeouts"]
    data = read_transitions(d4rl)
    assert len(data) == sum(LENGTHS)
    np.testing.assert_allclose(data.next_observation - data.observation, 5.0, atol=1e-5)
    assert data.episode_lengths.tolist() == [3, 5]


def test_both_layouts_agree_on_what_both_can_say(minari, d4rl):
    first, second = read_transitions(minari), read_transitions(d4rl)
    rows = [0, 1, 2, 4, 5, 6]
    for name in ("observation", "action", "reward", "terminal"):
        np.testing.assert_array_equal(getattr(first, name)[rows], getattr(second, name))


def change(path, key, value):
    with h5py.File(path, "a") as file:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value


@pytest.mark.parametrize(
    ("layout", "key", "value", "message"),
    [
        ("minari", "episode_0/observations", np.zeros((3, 2)), "episode_0/observations has 3 rows; 3 actions need 4"),
        ("minari", "episode_2/rewards", None, "episode_2/rewards is missing"),
        ("minari", "episode_2/rewards", np.zeros(3), "episode_2/rewards has 3 rows, not 4"),
        ("minari", "episode_0/terminations", np.array([True, False, True]), "episode_0 goes on after its end"),
        ("minari", "episode_1/actions", np.zeros((1, 2)), "episode_1/actions has width 2, episode_0/actions has 1"),
        ("minari", "episode_1", None, "holds 2 episodes and promises 3"),
        ("minari", "episode_0/observations", np.array([[0, 0], [0, np.nan], [0, 0], [0, 0]]), "not finite, the first in row 1"),
        ("d4rl", "actions", np.zeros((7, 1)), "actions has 7 rows, not 8"),
        ("d4rl", "terminals", None, "terminals is missing"),
        ("d4rl", "actions", np.zeros(8), r"actions is float64 of shape \(8,\); numbers in 2 dimensions"),
        ("d4rl", "observations", np.zeros((0, 2)), "observations has no row"),
        ("d4rl", "observations", None, "neither Minari's episode_0 nor D4RL's observations"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_and_part(request, layout, key, value, message):
    path = request.getfixturevalue(layout)
    change(path, key, value)
    with pytest.raises(TransitionsError, match=message) as refused:
        read_transitions(path)
    assert str(refused.value).startswith(str(path))


def test_dictionary_observations_are_refused(minari):
    with h5py.File(minari, "a") as file:
        del file["episode_0/observations"]
        file["episode_0/observations/position"] = np.zeros((4, 2))
    with pytest.raises(TransitionsError, match="episode_0/observations is a group; only plain vectors"):
        read_transitions(minari)


def test_a_cut_off_or_foreign_or_absent_file_is_refused_by_name(minari, tmp_path):
    whole = minari.read_bytes()
    for kept in (len(whole) // 2, 10, 0):
        minari.write_bytes(whole[:kept])
        with pytest.raises(TransitionsError, match=r"minari\.hdf5: not a whole HDF5 file"):
            read_transitions(minari)
    with pytest.raises(TransitionsError, match=r"none\.hdf5: no such file"):
        read_transitions(tmp_path / "none.hdf5")


class Line:
    """A point on a line: the action is its next place, the reward is high near 0.5; it falls off beyond 2 and time is up after 5 steps."""

    class Space:
        def __init__(self, bound):
            self.low, self.high, self.shape = np.array([-bound]), np.array([bound]), (1,)

    observation_space, action_space = Space(9.0), Space(3.0)

    def reset(self, *, seed=None):
        self.place, self.steps = float(np.random.default_rng(seed).uniform(-1, 1)), 0
        return np.array([self.place]), {}

    def step(self, action):
        self.place, self.steps = float(action[0]), self.steps + 1
        return np.array([self.place]), -abs(self.place - 0.5), abs(self.place) > 2, self.steps == 5, {}


def test_rollouts_side_by_side_are_those_one_after_another():
    seen = []

    def act(observations, slots):
        seen.append(len(observations))
        return 0.5 * observations + slots[:, None]

    many, single = rollout(act, [Line() for _ in range(3)], range(5)), rollout(act, [Line()], range(5))
    assert seen[0] == 3
    for a, b in zip(many, single, strict=True):
        np.testing.assert_array_equal(a.observations, b.observations)
        assert a.terminated == b.terminated
    assert [len(e.rewards) for e in many] == [5, 5, 2, 1, 1] and [e.terminated for e in many] == [False, False, True, True, True]
    assert many[4].actions[0, 0] == 3.0, "clipped, and recorded as clipped"


def test_the_search_gets_better_and_a_collected_file_says_what_is_in_it(tmp_path, monkeypatch):
    tasks = [Line() for _ in range(20)]
    levels = cross_entropy_search(tasks, 12, 20, 1.0, np.random.default_rng(0))
    assert len(levels) == 13 and levels[12].population_return > 0.25 * levels[1].population_return, "the best return is 0"
    monkeypatch.setattr("cdp.rl.collect.make_tasks", lambda name, count: [Line() for _ in range(count)])
    recipe = Recipe("line", transitions=60, levels=3, noise=0.1, iterations=6, population=10)
    made, again = collect(tmp_path / "a.hdf5", recipe), collect(tmp_path / "b.hdf5", recipe)
    data, same = read_transitions(made.path), read_transitions(again.path)
    assert 60 <= len(data) == made.transitions < 120 and len(data.episode_returns) == made.episodes
    assert data.notes["level_returns"] == pytest.approx(made.level_returns)
    np.testing.assert_array_equal(data.action, same.action)


def test_without_gymnasium_a_task_says_in_one_line_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    with pytest.raises(TaskError, match=r"^acting in a task needs Gymnasium, which is not installed: pip install gymnasium==[\d.]+$"):
        make_task("Hopper-v5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--levels", "9", "--iterations", "3"], "--levels: 9 stages cannot be told apart in 3 iterations"),
        (["--noise", "3"], r"--noise: 3.0 is outside [0, 2]"),
        (["--spread", "0"], "--spread: 0.0 is not above 0"),
    ],
)
def test_what_cannot_be_collected_is_refused_by_name(words, message, tmp_path, capsys):
    assert cli.main(["rl", "collect", "--task", "none", "-o", str(tmp_path / "x.hdf5"), *words]) == 1
    assert capsys.readouterr().err == f"cdp: {message}\n"
    (tmp_path / "x.hdf5").touch()
    assert cli.main(["rl", "collect", "--task", "none", "-o", str(tmp_path / "x.hdf5")]) == 1
    assert "x.hdf5 exists and is left as it is" in capsys.readouterr().err


def test_tasks_of_gymnasium_are_checked():
    pytest.importorskip("gymnasium")
    with pytest.raises(TaskError, match="Nothing-v0: Gymnasium cannot make this task"):
        make_task("Nothing-v0")
    with pytest.raises(TaskError, match="vectors of numbers are needed"):
        make_task("CartPole-v1")
