"""Offline RL: backup, one-step action, selection and separation of gradients against hand calculation; a bandit with a known best action."""

import contextlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cdp import cli
from cdp.config import ConfigError, from_mapping
from cdp.diffusion.schedule import Schedule
from cdp.rl.config import RLConfig, load_rl_config
from cdp.rl.networks import TwinCritic, build_networks
from cdp.rl.objective import actor_loss, bellman_target, critic_loss, one_step_action
from cdp.rl.policy import PolicyError, RLPolicy, load_policy, save_policy, selection_probabilities
from cdp.rl.study import run_study
from cdp.rl.trainer import RLTrainer
from cdp.rl.transitions import Transitions, write_minari
from cdp.train.checkpoint import CheckpointError
from cdp.train.interrupt import TrainingInterrupted
from cdp.train.log import METRICS
from cdp.train.resume import TrainingError

ROOT = Path(__file__).parents[3]
TINY = {
    "task": "bandit",
    "dataset": "unused.hdf5",
    "steps": 8,
    "batch_size": 32,
    "eta": 1.0,
    "log_every": 1,
    "checkpoint_every": 3,
    "actor": {"width": 32, "depth": 1},
    "critic": {"width": 32, "depth": 2, "learning_rate": 5e-3, "backup_steps": 1, "target_rate": 0.05},
    "sampler": {"steps": 5},
    "optimiser": {"learning_rate": 5e-3, "warmup_steps": 0, "ema_decay": 0.97},
}
GOOD, BAD = 0.6, -0.6


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def config(folder, **changes):
    return from_mapping(RLConfig, {**TINY, "output": str(folder / "policy"), **changes})


def bandit(rows=400, share_good=0.3, spread=0.05):
    """One step, one state: the rarer of two actions is rewarded with 1, the other with 0."""
    rng = np.random.default_rng(0)
    good = np.arange(rows) < share_good * rows
    action = np.where(good, GOOD, BAD) + spread * rng.standard_normal(rows)
    # The ends of the box, so that its map to [-1, 1] is the identity.
    action[:2] = 1.0, -1.0
    state = np.zeros((rows, 1), dtype=np.float32)
    return Transitions(
        state,
        action[:, None].astype(np.float32),
        (action > 0).astype(np.float32),
        state,
        np.ones(rows, dtype=bool),
        (action > 0).astype(np.float64),
        np.ones(rows, dtype=np.int64),
        "minari",
        "0" * 64,
    )


def actions_of(result, made, count=400):
    policy = RLPolicy(result.networks, made, seed=1)
    return policy.candidates(torch.zeros(1, 1), count).flatten().numpy()


def test_bellman_target_of_a_hand_made_batch():
    reward = torch.tensor([1.0, 2.0, -1.0])
    terminal = torch.tensor([False, True, False])
    next_q = torch.tensor([[10.0, 10.0, 3.0], [4.0, float("inf"), 5.0]])
    target = bellman_target(reward, terminal, next_q, 0.9)
    assert_close(target, torch.tensor([1.0 + 0.9 * 4.0, 2.0, -1.0 + 0.9 * 3.0]))


def test_critic_loss_sums_the_squared_errors_of_the_twins():
    def critic(cond, action):
        return torch.stack([cond[:, 0] + action[:, 0], 2.0 * action[:, 0]])

    cond, action = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    # Errors: (4 - 5)^2 + (6 - 5)^2 and (6 - 7)^2 + (8 - 7)^2.
    assert float(critic_loss(critic, cond, action, torch.tensor([5.0, 7.0]))) == pytest.approx(2.0)


def test_the_trainer_backs_up_the_target_critics_value_of_the_averaged_actor(tmp_path):
    data = replace(bandit(), terminal=np.zeros(400, dtype=bool))
    made = config(tmp_path, critic={**TINY["critic"], "discount": 0.5, "reward_scale": 3.0})
    job = RLTrainer(made, data)
    with torch.no_grad():
        for network, value in ((job.average.critic.first, 8.0), (job.average.critic.second, 6.0), (job.networks.critic.first, -50.0)):
            network.layers[-1].weight.zero_()
            network.layers[-1].bias.fill_(value)
    rows = np.array([0, 399])
    job.data = replace(data, reward=data.reward[rows])
    figures = job.step(0)
    # Whatever the action, the target is 3 r + 0.5 * 6; its mean over a batch lies between those of r = 0 and r = 1.
    assert 3.0 <= figures["target_mean"] <= 6.0
    assert (figures["target_mean"] - 3.0) * 32 / 3 == pytest.approx(round((figures["target_mean"] - 3.0) * 32 / 3), abs=1e-3)


def test_selection_probabilities_are_those_of_exponentiated_values():
    q = torch.tensor([[0.0, np.log(2.0), np.log(5.0)], [1.0, 1.0, 1.0]], dtype=torch.float64)
    assert_close(selection_probabilities(q, 1.0), torch.tensor([[1 / 8, 2 / 8, 5 / 8], [1 / 3] * 3], dtype=torch.float64))
    assert_close(selection_probabilities(q, 0.5)[0], torch.tensor([1 / 30, 4 / 30, 25 / 30], dtype=torch.float64))
    assert_close(selection_probabilities(q, 0.0)[0], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    assert_close(selection_probabilities(q + 700.0, 1e-3).sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_actions_are_drawn_with_those_probabilities(tmp_path, monkeypatch):
    made = config(tmp_path, selection={"candidates": 3, "temperature": 1.0})
    policy = RLPolicy(build_networks(bandit(), made.actor, made.critic, 0), made)
    values = torch.tensor([0.1, 0.2, 0.7])
    monkeypatch.setattr(policy, "candidates", lambda cond, count: values.repeat(len(cond), 1)[:, :, None])
    monkeypatch.setattr(policy.networks.critic, "forward", lambda cond, action: torch.stack([action[:, 0].log(), action[:, 0].log() + 1.0]))
    count = 20_000
    drawn = policy.act(np.zeros((count, 1), dtype=np.float32))[:, 0]
    shares = [np.isclose(drawn, v, atol=1e-5).mean() for v in values.tolist()]
    # Four standard errors of a share.
    np.testing.assert_allclose(shares, values.numpy(), atol=4 * np.sqrt(0.25 / count))


def test_the_one_step_action_is_the_x0_prediction_of_the_noised_action():
    schedule, std = Schedule(), 0.4
    seen = {}

    def gaussian(x, t, cond):
        """The exact denoiser of actions drawn from N(0, std^2)."""
        alpha, sigma = schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None]
        seen.update(x=x, t=t, alpha=alpha, sigma=sigma)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    generator = torch.Generator().manual_seed(0)
    action = std * torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    predicted = one_step_action(gaussian, action, torch.zeros(4000, 1), schedule, generator)
    assert predicted.shape == action.shape and seen["x"].shape == (4000, 1, 2)
    assert schedule.t_min <= float(seen["t"].min()) < 0.01 and 0.98 < float(seen["t"].max()) <= schedule.t_max
    assert_close(predicted, gaussian(seen["x"], seen["t"], None)[:, 0])
    noise = (seen["x"][:, 0] - seen["alpha"][:, 0] * action) / seen["sigma"][:, 0]
    assert abs(float(noise.mean())) < 0.05 and float(noise.std()) == pytest.approx(1.0, abs=0.03)
    # What is left of the variance is what the posterior mean explains, alpha^2 s^4 / (alpha^2 s^2 + sigma^2), averaged over the same times.
    alpha, sigma = seen["alpha"], seen["sigma"]
    expected = float((alpha**2 * std**4 / (alpha**2 * std**2 + sigma**2)).mean())
    assert float(predicted.square().mean()) == pytest.approx(expected, rel=0.05)


def test_q_term_is_the_lesser_value_over_its_mean_magnitude_inside_the_box():
    def critic(cond, action):
        return torch.stack([10.0 * action[:, 0], 10.0 * action[:, 0] + 1.0])

    def constant(x, t, cond):
        return cond[:, None, :]

    cond = torch.tensor([[0.5], [-0.25], [7.0]], requires_grad=True)
    action = torch.zeros(3, 1)
    loss = actor_loss(constant, critic, action, cond, Schedule(), torch.Generator().manual_seed(0))
    assert float(loss.q_mean) == pytest.approx((5.0 - 2.5 + 10.0) / 3)
    assert float(loss.improvement.detach()) == pytest.approx(-12.5 / 17.5)
    assert float(loss.cloning.detach()) == pytest.approx((0.25 + 0.0625 + 49.0) / 3)
    loss.improvement.backward()
    # The divisor is held constant: d/da of -sum(Q) / 17.5, and nothing beyond the box.
    assert_close(cond.grad, torch.tensor([[-10 / 17.5], [-10 / 17.5], [0.0]]))


def test_the_q_term_moves_the_actor_and_never_the_critics(tmp_path):
    jobs = {eta: RLTrainer(config(tmp_path, eta=eta), bandit()) for eta in (0.0, 5.0)}
    for job in jobs.values():
        job.step(0)
    for name, parameter in jobs[0.0].networks.critic.named_parameters():
        assert torch.equal(parameter, dict(jobs[5.0].networks.critic.named_parameters())[name]), name
    moved = [not torch.equal(a, b) for a, b in zip(jobs[0.0].networks.actor.parameters(), jobs[5.0].networks.actor.parameters(), strict=True)]
    assert any(moved)
    job = jobs[5.0]
    job.optimiser.zero_grad(set_to_none=True)
    job._actor_step(torch.zeros(32, 1), torch.zeros(32, 1), torch.Generator().manual_seed(0))
    assert all(p.grad is None for p in job.networks.critic.parameters())
    assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in job.networks.actor.parameters())


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A clone, and a policy that is improved, of the same bandit."""
    torch.set_num_threads(1)
    results = {}
    for eta in (0.0, 1.0):
        made = config(tmp_path_factory.mktemp("bandit"), eta=eta, steps=120, checkpoint_every=120, log_every=120)
        results[eta] = (RLTrainer(made, bandit()).run(), made)
    return results


def test_the_critics_learn_the_values_of_both_modes(learnt):
    networks = learnt[1.0][0].networks
    with torch.no_grad():
        values = networks.critic(torch.zeros(2, 1), torch.tensor([[GOOD], [BAD]]))
    assert_close(values, torch.tensor([[1.0, 0.0]] * 2), atol=0.1, rtol=0.0)


def test_cloning_keeps_both_modes_and_the_q_term_moves_the_policy_to_the_better_one(learnt):
    clone, better = (actions_of(*learnt[eta]) for eta in (0.0, 1.0))
    assert np.mean(clone > 0) == pytest.approx(0.3, abs=0.12), "the share of the good mode in the data"
    assert clone.mean() < 0.0
    assert better.mean() > 0.4 and np.mean(better > 0) > 0.95


def test_selection_by_q_picks_the_better_mode_of_a_clone(learnt):
    result, made = learnt[0.0]
    greedy = RLPolicy(result.networks, replace(made, selection=replace(made.selection, candidates=20, temperature=0.0)), seed=1)
    assert greedy.act(np.zeros((200, 1), dtype=np.float32)).mean() > 0.4


def test_the_penalty_flattens_the_denoiser_near_the_data(tmp_path):
    slopes = {}
    for gamma in (0.0, 1.0):
        contraction = {"label": "cdp-saturating", "gamma": gamma, "fraction": 1.0, "every": 1, "t_max": 0.3}
        job = RLTrainer(config(tmp_path / str(gamma), contraction=contraction, steps=60), bandit())
        for step in range(60):
            figures = job.step(step)
        assert ("penalty" in figures) == (gamma > 0)
        x, t = torch.tensor([[[GOOD + 0.05]], [[GOOD - 0.05]]]), torch.full((2,), 0.15)
        with torch.no_grad():
            ends = job.average.denoise(x, t, torch.zeros(2, 1)).flatten()
        slopes[gamma] = abs(float(ends[0] - ends[1])) / 0.1
    assert slopes[1.0] < 0.5 * slopes[0.0]


class KilledError(Exception):
    pass


def kill_at(step):
    def progress(done, figures):
        if done == step:
            raise KilledError

    return progress


def curve(made):
    return [json.loads(line) for line in (made.output / METRICS).read_text().splitlines()]


def test_asked_to_stop_it_ends_between_two_steps_with_a_checkpoint(tmp_path, monkeypatch):
    """What a signal asks for; that one asks for it is a test of the trainer of imitation, which waits for the same event."""
    made, stop = config(tmp_path), threading.Event()
    monkeypatch.setattr("cdp.rl.trainer.stop_between_steps", lambda: contextlib.nullcontext(stop))

    def stop_at_3(done, figures):
        if done == 3:
            stop.set()

    with pytest.raises(TrainingInterrupted, match=r"stopped after step 4 of 8.*--resume"):
        RLTrainer(made, bandit()).run(progress=stop_at_3)
    stop.clear()
    RLTrainer(made, bandit()).run(resume=True)
    assert len(curve(made)) == 8


@pytest.mark.parametrize("gamma", [0.1, "auto"])
def test_a_killed_training_resumes_on_the_same_curve_to_the_same_weights(tmp_path, gamma):
    contraction = {"label": "cdp-saturating", "every": 2, "gamma": gamma}
    whole, cut = (config(tmp_path / name, contraction=contraction) for name in "ab")
    expected = RLTrainer(whole, bandit()).run()
    with pytest.raises(KilledError):
        RLTrainer(cut, bandit()).run(progress=kill_at(5))
    result = RLTrainer(cut, bandit()).run(resume=True)
    assert curve(cut) == curve(whole) and len(curve(cut)) == 8
    assert result.figures == expected.figures
    for name, tensor in expected.networks.state_dict().items():
        assert torch.equal(tensor, result.networks.state_dict()[name]), name
    assert RLTrainer(cut, bandit()).run(resume=True).figures == expected.figures, "a finished one gives its result again"


def test_it_refuses_to_mix_trainings_and_a_loss_that_is_not_finite(tmp_path):
    made = config(tmp_path)
    RLTrainer(made, bandit()).run()
    with pytest.raises(TrainingError, match="already holds a training, up to step_000000008; go on with --resume"):
        RLTrainer(made, bandit()).run()
    with pytest.raises(CheckpointError, match=r"another training: its eta was 1\.0, now it is 2\.0"):
        RLTrainer(replace(made, eta=2.0), bandit()).run(resume=True)
    RLTrainer(replace(made, eta=2.0), bandit()).run(overwrite=True)
    broken = replace(bandit(), reward=np.full(400, np.inf, dtype=np.float32))
    with pytest.raises(TrainingError, match=r"critic_loss is .* at step 0; checkpoints up to there are kept"):
        RLTrainer(config(tmp_path / "broken"), broken).run()


def test_units_of_the_data_are_undone_exactly_and_a_constant_is_left_alone(tmp_path):
    rng = np.random.default_rng(0)
    data = replace(
        bandit(),
        observation=np.stack([rng.normal(5, 3, 400), np.full(400, 7.0)], axis=1).astype(np.float32),
        action=np.stack([rng.uniform(2, 6, 400), np.full(400, -1.0)], axis=1).astype(np.float32),
    )
    made = config(tmp_path)
    networks = build_networks(data, made.actor, made.critic, 0)
    observation, action = (
        networks.normalise_observation(torch.from_numpy(data.observation)),
        networks.normalise_action(torch.from_numpy(data.action)),
    )
    assert_close(observation.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    assert_close(observation.std(dim=0, unbiased=False), torch.tensor([1.0, 0.0]), atol=1e-4, rtol=0)
    assert_close(torch.stack([action.amin(dim=0), action.amax(dim=0)]), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    assert_close(networks.denormalise_action(action), torch.from_numpy(data.action))


def test_a_saved_policy_acts_as_it_did_and_a_broken_one_is_refused_by_name(learnt, tmp_path):
    result, made = learnt[1.0]
    save_policy(tmp_path, result.networks, made)
    rows = np.zeros((5, 1), dtype=np.float32)
    loaded = load_policy(tmp_path, seed=3)
    np.testing.assert_array_equal(loaded.act(rows), RLPolicy(result.networks, made, seed=3).act(rows))
    assert not np.array_equal(loaded.act(rows), load_policy(tmp_path, seed=4).act(rows))
    weights = tmp_path / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(PolicyError, match=r"policy\.safetensors does not fit config\.yaml"):
        load_policy(tmp_path)
    weights.unlink()
    with pytest.raises(PolicyError, match=r"holds no trained policy: policy\.safetensors is missing"):
        load_policy(tmp_path)


def test_twins_start_apart_and_the_same_seed_gives_the_same_networks(tmp_path):
    made = config(tmp_path)
    critic = build_networks(bandit(), made.actor, made.critic, 0).critic
    assert isinstance(critic, TwinCritic)
    values = critic(torch.zeros(1, 1), torch.zeros(1, 1))
    assert float((values[0] - values[1]).detach()) != 0.0
    assert_close(build_networks(bandit(), made.actor, made.critic, 0).critic(torch.zeros(1, 1), torch.zeros(1, 1)), values, atol=0, rtol=0)


def test_configurations(tmp_path):
    assert load_rl_config(ROOT / "config/rl/reacher.yaml").sampler.steps == 15
    made = load_rl_config(ROOT / "config/rl/reacher.yaml", [("contraction.label", "cdp-hinge"), ("contraction.gamma", "1e-2")])
    assert (made.contraction.label, made.contraction.gamma, made.contraction.t_max) == ("cdp-hinge", 0.01, 0.083)
    assert not load_rl_config(ROOT / "config/rl/reacher.yaml").contraction.active, "the baseline is plain EDP"
    with pytest.raises(ConfigError, match=r"cdp-step is the step map of ddim; it says nothing about sampler\.solver dpmpp_2m"):
        config(tmp_path, contraction={"label": "cdp-step"})
    with pytest.raises(ConfigError, match=r"critic\.discount: 1\.5 is outside"):
        load_rl_config(ROOT / "config/rl/reacher.yaml", [("critic.discount", 1.5)])
    with pytest.raises(ConfigError, match="what holds width is not a group of settings"):
        load_rl_config(ROOT / "config/rl/reacher.yaml", [("steps.width", 1)])


class Bandit:
    """The bandit as a task: one step, rewarded where the action is positive."""

    class Space:
        low, high, shape = np.array([-1.0]), np.array([1.0]), (1,)

    observation_space = action_space = Space()

    def reset(self, *, seed=None):
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), float(action[0] > 0), True, False, {}


@pytest.fixture
def file(tmp_path):
    data = bandit(100)
    return write_minari(
        tmp_path / "bandit.hdf5",
        [
            {
                "observations": np.zeros((2, 1)),
                "actions": data.action[i : i + 1],
                "rewards": data.reward[i : i + 1],
                "terminations": np.array([True]),
                "truncations": np.array([False]),
            }
            for i in range(100)
        ],
        {"level_returns": [0.3]},
    )


def words(tmp_path, file):
    path = tmp_path / "bandit.yaml"
    path.write_text(json.dumps({**TINY, "dataset": str(file), "output": str(tmp_path / "runs")}))
    return path


def test_train_and_eval_end_in_one_line_of_figures(tmp_path, file, monkeypatch, capsys):
    path = words(tmp_path, file)
    assert cli.main(["rl", "train", str(path), "--steps", "20", "--checkpoint_every=20"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("trained 20 steps in") and shown.count("\n") == 1
    monkeypatch.setattr("cdp.rl.evaluation.make_tasks", lambda name, count: [Bandit() for _ in range(count)])
    assert cli.main(["rl", "eval", str(tmp_path / "runs"), "--episodes", "8"]) == 0
    shown = capsys.readouterr().out
    assert "over 8 episodes of bandit, mean length 1" in shown and shown.count("\n") == 1
    assert cli.main(["rl", "eval", str(tmp_path / "runs"), "--episodes", "8", "--min-return", "1.01"]) == 1
    assert cli.main(["rl", "train", str(path)]) == 1
    assert "already holds a training" in capsys.readouterr().err


def test_eval_without_gymnasium_says_in_one_line_how_to_get_it(tmp_path, file, monkeypatch, capsys):
    assert cli.main(["rl", "train", str(words(tmp_path, file))]) == 0
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    capsys.readouterr()
    for command in (["eval", str(tmp_path / "runs")], ["collect", "--task", "Reacher-v5", "-o", str(tmp_path / "x.hdf5")]):
        assert cli.main(["rl", *command]) == 1
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cdp:")]
        assert len(errors) == 1 and "pip install gymnasium==" in errors[0]


def test_a_study_compares_its_variants_and_does_not_repeat_what_is_done(tmp_path, file, monkeypatch):
    monkeypatch.setattr("cdp.rl.evaluation.make_tasks", lambda name, count: [Bandit() for _ in range(count)])
    for name, value in (("_OBSERVATIONS", 4), ("_SEEDS", 2)):
        monkeypatch.setattr(f"cdp.rl.evaluation.{name}", value)
    made = load_rl_config(words(tmp_path, file))
    variants = tmp_path / "variants.yaml"
    variants.write_text("EDP: {contraction: {label: diffusion}}\nCDP 1.0: {contraction: {label: cdp-saturating, gamma: 1.0}}\n")
    line = run_study(made, variants, [0, 1], 3, tmp_path / "study", "cdp rl study")
    assert "return over 2 seeds: EDP" in line and "CDP 1.0" in line
    results = json.loads((tmp_path / "study/results.json").read_text())
    assert [run["seed"] for run in results["variants"]["CDP 1.0"]["runs"]] == [0, 1]
    summary, runs = results["variants"]["EDP"]["summary"], results["variants"]["EDP"]["runs"]
    assert summary["return"]["mean"] == pytest.approx(np.mean([run["selected"]["return_mean"] for run in runs]))
    assert results["dataset"]["episode_return"]["mean"] == pytest.approx(bandit(100).reward.mean())
    assert (tmp_path / "study/study.png").stat().st_size > 10_000
    monkeypatch.setattr("cdp.rl.study.train", lambda *args, **kwargs: pytest.fail("trained again"))
    assert run_study(made, variants, [0, 1], 3, tmp_path / "study", "cdp rl study") == line
    variants.write_text("- EDP\n")
    with pytest.raises(ConfigError, match="a mapping of each variant's name to its overrides"):
        run_study(made, variants, [0], 3, tmp_path / "study", "")
