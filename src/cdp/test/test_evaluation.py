"""Rollouts with a person beside the arm: the plan, what is kept, the order of a session, and who answers."""

import dataclasses
import io
import json
import os
import select
import termios

import numpy as np
import pytest

from cdp.evaluation.parts import Prompt, Recording, Run
from cdp.evaluation.persons import Answers, Simulated, TerminalPerson
from cdp.evaluation.plan import Candidate, make_plan
from cdp.evaluation.results import EvaluationError, load_evaluation, open_evaluation
from cdp.evaluation.session import Session
from cdp.evaluation.starts import StartPictures, undescribed
from cdp.evaluation.terminal import TerminalKeys

SETUP = {"task": "slide", "timeout_s": 10.0}
CANDIDATES = (Candidate("a", "models/a", "1" * 64), Candidate("b", "models/b", "2" * 64))


def plan(starts=2, order_seed=0):
    return make_plan([c.name for c in CANDIDATES], starts, 7, order_seed)


def fresh(folder, starts=2, **kwargs):
    return open_evaluation(folder / "evaluation.json", SETUP, CANDIDATES, plan(starts), resume=False, **kwargs)


class Log(list):
    """What was asked of robot and person, in order."""


class FakeRobot:
    """Does what it is told and notes it. ``ends``: how the runs end, the last one again and again."""

    def __init__(self, log, *ends, fail=""):
        self.log, self.ends, self.fail, self.runs = log, ends or ("success",), fail, 0

    def __getattr__(self, name):
        def do(*arguments):
            self.log.append(name)
            if name == self.fail:
                raise EvaluationError(f"{name} failed")
            return "" if name == "misplaced" else Recording(f"episode_{self.runs}.hdf5", "good") if name == "stop_recording" else None

        return do

    def prepare(self, candidate):
        self.log.append(f"prepare {candidate.name}")

    def place(self, seed):
        self.log.append(f"place {seed}")

    def run(self, seed, key):
        self.log.append(f"run {seed}")
        if self.fail == "run":
            raise EvaluationError("run failed")
        end = self.ends[min(self.runs, len(self.ends) - 1)]
        self.runs += 1
        return Run(end, "words", 2.0 + self.runs, 5, 1, 0, 0, [3.0, 5.0, 4.0], {"spread": [float("nan"), 0.5], "lipschitz": [float("nan")]})


class FakeStarts:
    def __init__(self, log):
        self.log = log

    def describe(self, rollout):
        return f"start of seed {rollout.seed}", ""

    def overlay(self, rollout):
        return "laid over"

    def placed(self, rollout):
        self.log.append("placed")


def session(folder, *answers, ends=(), fail="", starts=2, blind=False, resume=False, person=None):
    log, out = Log(), io.StringIO()
    evaluation = open_evaluation(folder / "evaluation.json", SETUP, CANDIDATES, plan(starts), resume=resume)
    robot = FakeRobot(log, *ends, fail=fail)
    return Session(evaluation, robot, person or Answers(answers, out), FakeStarts(log), blind=blind), evaluation, log, out


# The plan


def test_each_start_is_met_by_every_policy_once_with_one_seed_before_the_next_start():
    names = ["a", "b", "c"]
    made = make_plan(names, 20, 100, 3)
    assert [r.index for r in made] == list(range(60))
    orders = set()
    for start in range(20):
        block = made[3 * start : 3 * start + 3]
        assert {r.policy for r in block} == set(names) and {r.start for r in block} == {start} and {r.seed for r in block} == {100 + start}
        orders.add(tuple(r.policy for r in block))
    assert len(orders) > 3, "one order for all starts is no shuffle"
    assert make_plan(names, 20, 100, 3) == made != make_plan(names, 20, 100, 4)


@pytest.mark.parametrize(("policies", "starts"), [([], 3), (["a", "a"], 3), (["a"], 0)])
def test_a_plan_without_sense_is_refused(policies, starts):
    with pytest.raises(ValueError):
        make_plan(policies, starts, 0, 0)


# What is kept


def test_results_without_resume_are_not_touched_and_another_setup_is_named(tmp_path):
    session(tmp_path, *["go", "auto"] * 4)[0].run()
    path = tmp_path / "evaluation.json"
    before = path.read_bytes()
    with pytest.raises(EvaluationError, match="--resume"):
        fresh(tmp_path)
    with pytest.raises(EvaluationError, match=r"timeout_s 10\.0, not 5\.0"):
        open_evaluation(path, {**SETUP, "timeout_s": 5.0}, CANDIDATES, plan(), resume=True)
    changed = (CANDIDATES[0], dataclasses.replace(CANDIDATES[1], sha256="3" * 64))
    with pytest.raises(EvaluationError, match="policy b"):
        open_evaluation(path, SETUP, changed, plan(), resume=True)
    with pytest.raises(EvaluationError, match="another plan"):
        open_evaluation(path, SETUP, CANDIDATES, plan(3), resume=True)
    assert path.read_bytes() == before
    assert open_evaluation(path, SETUP, CANDIDATES, plan(), resume=True).pending == ()


def test_nothing_to_resume_and_a_file_that_is_none_are_said(tmp_path):
    with pytest.raises(EvaluationError, match="nothing to go on with"):
        load_evaluation(tmp_path / "evaluation.json")
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(EvaluationError, match="no evaluation"):
        fresh(tmp_path)


def test_an_evaluation_without_results_may_begin_anew(tmp_path):
    fresh(tmp_path)
    assert len(fresh(tmp_path, starts=3).plan) == 6


# The order of things


def test_nothing_moves_before_the_confirmation_and_everything_is_recorded(tmp_path):
    made, evaluation, log, _ = session(tmp_path, "go", "auto", starts=1)
    assert made.run() is False, "the answers ran out"
    first = plan(1)[0]
    begun = [f"prepare {first.policy}", "place 7", "misplaced", "placed", "start_recording", "engage", "run 7", "disengage", "stop_recording"]
    assert log[: len(begun)] == begun
    (result,) = evaluation.results
    assert result.success and result.judge == "script" and result.recording == "episode_1.hdf5" and result.verdict == "good"
    assert (result.latency_p50_ms, result.latency_max_ms, result.spread, result.lipschitz) == (4.0, 5.0, 0.5, None)
    # The second rollout was placed and never confirmed.
    assert log[len(begun) :] == [f"prepare {plan(1)[1].policy}", "place 7", "misplaced", "disengage"]


def test_each_result_is_on_the_disk_before_the_next_rollout_begins(tmp_path, monkeypatch):
    made, evaluation, *_ = session(tmp_path, *["go", "auto"] * 4)
    kept = []
    monkeypatch.setattr(FakeRobot, "prepare", lambda robot, c: kept.append(len(json.loads(evaluation.path.read_text())["rollouts"])))
    assert made.run()
    assert kept == [0, 1, 2, 3]


@pytest.mark.parametrize("fail", ["start_recording", "engage", "run", "disengage", "stop_recording"])
def test_a_failure_in_a_rollout_holds_the_arm_and_loses_no_result_before_it(tmp_path, fail):
    assert session(tmp_path, "go", "auto")[0].run() is False
    made, evaluation, log, _ = session(tmp_path, "go", fail=fail, resume=True)
    with pytest.raises(EvaluationError, match=f"{fail} failed"):
        made.run()
    assert log[-1] == "abandon"
    assert len(load_evaluation(evaluation.path).results) == 1
    made, evaluation, log, _ = session(tmp_path, *["go", "auto"] * 3, resume=True)
    assert made.run() is True
    assert sorted(r.index for r in evaluation.results) == [0, 1, 2, 3] and log[0] == f"prepare {plan()[1].policy}"


@pytest.mark.parametrize("when", ["run", "misplaced"])
def test_ctrl_c_in_a_rollout_or_at_its_prompt_holds_the_arm_too(tmp_path, when):
    made, _, log, _ = session(tmp_path, "go")
    setattr(made._robot, when, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert log[-1] == "abandon"


def test_a_label_against_the_runs_end_is_written_into_the_recording(tmp_path):
    made, evaluation, log, _ = session(tmp_path, "go", "y", "go", "n", "go", "n", "go", "y", ends=("timeout", "success", "timeout", "success"))
    assert made.run()
    assert [r.success for r in evaluation.results] == [True, False, False, True]
    assert log.count("label") == 2


def test_who_took_over_keeps_driving_until_the_next_rollout_is_prepared(tmp_path):
    made, evaluation, log, _ = session(tmp_path, "go", "n", "go", "n", ends=("operator_took_over", "timeout"), starts=1)
    assert made.run() and [r.reason for r in evaluation.results] == ["operator_took_over", "timeout"]
    first = log[: log.index(f"prepare {plan(1)[1].policy}")]
    assert first[-2:] == ["run 7", "stop_recording"] and log[-2:] == ["disengage", "stop_recording"]


def test_redo_sets_the_episode_aside_and_counts_the_tries(tmp_path):
    made, evaluation, log, _ = session(tmp_path, "go", "redo", "go", "redo", "go", "y", starts=1)
    made.run()
    assert log.count("discard") == 2 and log.count("run 7") == 3
    assert [(r.index, r.redone) for r in evaluation.results] == [(0, 2)]


def test_quitting_at_the_label_leaves_the_rollout_to_be_made_again(tmp_path):
    made, evaluation, log, _ = session(tmp_path, "go", "quit")
    assert made.run() is False and log[-1] == "discard" and evaluation.results == []


def test_equipment_that_failed_is_no_failure_of_the_policy(tmp_path):
    made, evaluation, *_ = session(tmp_path, ends=("observation_lost", "timeout"), starts=1, person=Simulated(io.StringIO()))
    assert made.run()
    assert [(r.reason, r.success, r.redone) for r in evaluation.results] == [("timeout", False, 1), ("timeout", False, 0)]
    made, *_ = session(tmp_path / "other", ends=("deactivated",), person=Simulated(io.StringIO()))
    with pytest.raises(EvaluationError, match="20 times"):
        made.run()


def test_engage_and_overlay_come_back_to_the_confirmation(tmp_path):
    made, _, log, out = session(tmp_path, "engage", "overlay", "go", "y", starts=1)
    made.run()
    assert log[2:6] == ["misplaced", "engage", "misplaced", "misplaced"] and "laid over" in out.getvalue()


@pytest.mark.parametrize("blind", [True, False])
def test_a_blind_session_does_not_name_the_policy(tmp_path, blind):
    made, _, _, out = session(tmp_path, "go", "y", blind=blind)
    made.run()
    assert (f"policy {plan()[0].policy}" in out.getvalue()) is not blind


# Who answers


def test_a_bare_enter_at_the_terminal_moves_nothing(monkeypatch):
    out, typed = io.StringIO(), iter(["", "yes", "y", "go"])
    monkeypatch.setattr("builtins.input", lambda text: next(typed))
    assert TerminalPerson("ada", out).confirm(Prompt(plan()[0], 1, 4, "a", "words", "", "")) == "go"
    assert out.getvalue().count("nothing moves") == 3 and list(typed) == []


def test_the_person_at_the_terminal_judges_and_a_bare_enter_takes_the_suggestion(monkeypatch):
    person, typed = TerminalPerson("ada", io.StringIO()), iter(["maybe", "N", "", "r"])
    monkeypatch.setattr("builtins.input", lambda text: next(typed))
    run = Run("success", "", 1.0)
    assert [person.label(run, "y") for _ in range(3)] == ["n", "y", "redo"] and person.judge == "operator ada"


def test_a_closed_terminal_quits(monkeypatch):
    def closed(text):
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    person = TerminalPerson("", io.StringIO())
    assert person.label(Run("timeout", "", 1.0), "n") == "quit" and person.confirm(Prompt(plan()[0], 1, 4, "", "", "", "")) == "quit"


def test_keys_of_a_run_are_those_of_the_last_look():
    class Keys:
        text = ""

        def open(self):
            pass

        close = open

        def read(self):
            text, self.text = self.text, ""
            return text

    keys = Keys()
    key = TerminalPerson("", io.StringIO(), keys).watching()
    heard = []
    for keys.text in ("", "xs", "\x1b", " ", "q"):
        heard.append(key())
    assert heard == ["", "success", "abort", "abort", ""]


def test_a_wrong_answer_in_a_file_is_named():
    with pytest.raises(EvaluationError, match=r"answer 1, for the confirmation: 'y' is not one of go"):
        Answers(["# a comment", "", "y"], io.StringIO()).confirm(Prompt(plan()[0], 1, 4, "", "", "", ""))


# Pictures of starts


def test_the_first_placement_is_the_picture_for_the_policies_after_it(tmp_path):
    drawn, seen = np.full((4, 6, 3), 40, np.uint8), np.full((8, 12, 3), (200, 100, 0), np.uint8)
    views = [seen]
    starts = StartPictures(tmp_path, lambda seed: ("words", drawn), lambda: views[-1])
    first, second = plan()[0], plan()[1]
    assert starts.describe(first) == ("words", str(tmp_path / "start_000_drawn.png"))
    assert "mean difference" in starts.overlay(first)
    starts.placed(first)
    views.append(np.full((8, 12, 3), (180, 100, 0), np.uint8))
    assert starts.describe(second)[1] == str(tmp_path / "start_000_placed.png")
    # Off by 20 in one of three channels.
    assert f"mean difference {20 / 3:.1f} of 255" in starts.overlay(second)
    import cv2

    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "overlay.png"))[0, 0], (0, 100, 190))
    starts.placed(second)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "start_000_placed.png"))[0, 0], (0, 100, 200))


def test_without_a_description_or_a_camera_it_is_said(tmp_path):
    starts = StartPictures(tmp_path, undescribed, lambda: None)
    assert starts.describe(plan()[0])[1] == "" and "camera" in starts.overlay(plan()[0])
    starts.placed(plan()[0])
    assert list(tmp_path.iterdir()) == []


# The terminal itself


def test_keys_of_a_real_terminal_come_one_by_one_and_it_is_left_as_it_was(monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        before = termios.tcgetattr(slave)
        keys = TerminalKeys()
        os.write(master, b"go\n")
        keys.open()
        assert keys.read() == "", "what was typed before the run was taken for a key"
        os.write(master, b"s")
        assert select.select([slave], [], [], 5.0)[0], "a key without Enter did not arrive"
        assert keys.read() == "s" and keys.read() == ""
        keys.close()
        assert termios.tcgetattr(slave) == before
    os.close(master)


def test_without_a_terminal_there_are_no_keys(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("s"))
    keys = TerminalKeys()
    keys.open()
    assert keys.read() == ""
    keys.close()
