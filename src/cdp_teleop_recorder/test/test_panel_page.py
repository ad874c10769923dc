"""The panel's page in a real browser, over a real recorder: what the operator sees and clicks, and what is then on the disk."""

import signal
import time

import chromium
import numpy as np
import pytest
from cdp_msgs.msg import GuardStatus
from panel_process import PanelProcess
from recorder_robot import Robot
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sensor_msgs.msg import CompressedImage

from cdp.data.episode import EpisodeReader
from cdp.data.images import encode_jpeg

DEADLINE_S = 60.0


class Page:
    """A browser on the panel; while it waits, the robot goes on, unless it is told to stand still."""

    def __init__(self, robot, panel, browser):
        self.robot, self.panel, self.browser = robot, panel, browser
        self.alive, self._moment = True, 0
        browser.get(panel.url)

    def until(self, condition, what):
        end = time.monotonic() + DEADLINE_S
        while True:
            for _ in range(5):
                if self.alive:
                    self.robot.moment(self.robot.now_ns(), self._moment, 120)
                    self._moment += 1
                self.robot.executor.spin_once(timeout_sec=0.01)
            try:
                if condition():
                    return
            except (StaleElementReferenceException, NoSuchElementException):
                pass  # The list was rebuilt under the look.
            assert time.monotonic() < end, f"waited for {what} in vain; the page says:\n{self.text('body')}"

    def text(self, css):
        return "\n".join(element.text for element in self.browser.find_elements(By.CSS_SELECTOR, css))

    def shows(self, css, text):
        self.until(lambda: text in self.text(css), f"{text!r} in {css}")

    def click(self, name):
        css = f'[data-name="{name}"]'
        self.until(lambda: self.browser.find_element(By.CSS_SELECTOR, css).is_enabled(), f"the button {name}")
        self.browser.find_element(By.CSS_SELECTOR, css).click()

    def write(self, name, text):
        field = self.browser.find_element(By.CSS_SELECTOR, f'input[data-name="{name}"]')
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def thumbnails(self):
        return self.browser.execute_script(
            "return [...document.querySelectorAll('article img')].filter(i => i.complete && i.naturalWidth > 0).length"
        )

    def record(self, label=None):
        self.click("begin")
        self.shows('[data-name="state"]', "RECORDING")
        self.until(lambda: self.robot.received()["agentview_image"] >= 5, "five pictures")
        if label:
            self.click(label)
            self.shows('[data-name="keep"]', f"Keep as {label}")


@pytest.fixture
def page(tmp_path):
    robot = Robot()
    browser = panel = None
    try:
        browser = chromium.start(tmp_path / "profile")
        robot.launch(tmp_path / "episodes", "silent_after_s:=5.0")
        wrist = ("cameras:=[wrist]", "camera.wrist.topic:=/wrist/compressed", "camera.wrist.transport:=compressed")
        panel = PanelProcess(robot, tmp_path / "episodes", *wrist)
        yield Page(robot, panel, browser)
    finally:
        if browser is not None:
            browser.quit()
        if panel is not None:
            panel.close()
        robot.close()


def episodes(folder):
    return sorted(folder.glob("*.hdf5"))


def test_an_operators_day(page, tmp_path):
    folder = tmp_path / "episodes"
    page.shows('[data-name="state"]', "IDLE")
    page.shows(".age", "live")
    page.shows('[data-name="streams"]', "agentview_image")

    page.write("task", "push")
    page.write("operator", "anna")
    page.record(label="success")
    page.click("keep")
    page.until(lambda: len(episodes(folder)) == 1, "the file")
    (path,) = episodes(folder)
    with EpisodeReader(path) as episode:
        assert (episode.info.task, episode.info.operator, episode.labels.success, episode.labels.labelled) == ("push", "anna", True, True)
    page.shows('[data-name="answer"]', f"kept {path.name}")
    page.shows("article", path.name)
    page.shows("article .badge", "success")
    page.until(lambda: page.thumbnails() == 1, "the thumbnail")

    page.click("row-failure")
    page.shows("article .badge", "failure")
    with EpisodeReader(path) as episode:
        assert not episode.labels.success and episode.labels.labelled

    page.click("row-delete")
    page.until(lambda: path.name not in page.text("article"), "the row to go")
    assert not path.exists() and (folder / "discarded" / path.name).exists()
    page.click("undo")
    page.shows("article", path.name)
    assert path.exists() and not (folder / "discarded" / path.name).exists()

    page.record()
    page.click("discard")
    page.shows('[data-name="discard"]', "press again")
    assert page.robot.status.state == page.robot.status.STATE_RECORDING
    page.click("discard")
    page.shows('[data-name="state"]', "IDLE")
    assert episodes(folder) == [path]


def test_a_deleted_episode_comes_back_from_its_list_on_another_day(page, tmp_path):
    page.shows(".age", "live")
    page.record()
    page.click("keep")
    page.click("row-delete")
    page.shows('[data-name="list"]', "no episode")
    page.browser.refresh()
    page.click("show-deleted")
    page.click("restore")
    page.shows('[data-name="list"]', "nothing was deleted")
    page.click("show-kept")
    page.shows("article .badge", "unlabelled")
    assert len(episodes(tmp_path / "episodes")) == 1


def test_a_compressed_camera_and_guard_and_policy_are_shown(page):
    """The further camera is larger than the page wants it, and the policy is not there."""
    guard = page.robot.node.create_publisher(GuardStatus, "/cdp/guard/status", 1)
    wrist = page.robot.node.create_publisher(CompressedImage, "/wrist/compressed", 1)
    jpeg = encode_jpeg(np.full((720, 1280, 3), 90, np.uint8)).tobytes()

    def widths():
        wrist.publish(CompressedImage(format="jpeg", data=jpeg))
        guard.publish(GuardStatus(state=GuardStatus.STATE_FAULT, reason=GuardStatus.REASON_WORKSPACE, message="too low; engage anew"))
        return page.browser.execute_script("return [...document.querySelectorAll('.picture img')].map(i => i.naturalWidth)")

    page.until(lambda: widths() == [320, 640], "both cameras, the second made smaller")
    page.until(lambda: widths() and page.text('[data-name="guard"]') == "FAULT", "the guard's state")
    assert "workspace: too low; engage anew" in page.text(".node") and page.text('[data-name="policy"]') == "not running"


def test_what_is_unreadable_or_refused_is_shown_with_its_reason(page, tmp_path):
    """A file that is no episode; and a robot that says nothing, so that the recorder refuses to start."""
    page.alive = False
    page.shows('[data-name="list"]', "does not exist yet")
    (tmp_path / "episodes").mkdir()
    page.shows('[data-name="list"]', "no episode")
    (tmp_path / "episodes" / "<b>half<i>.hdf5").write_bytes(b"half")
    page.shows("article", "cannot be read")
    page.shows("article .badge", "unreadable")
    # A name is text, whatever is in it.
    page.shows("article .file", "<b>half<i>.hdf5")
    page.shows('[data-name="state"]', "IDLE")
    page.click("begin")
    page.shows('[data-name="answer"]', "agentview_image has not been received")


def test_a_camera_that_stops_is_marked_and_a_killed_recorder_is_named_until_it_is_back(page, tmp_path):
    page.shows(".age", "live")
    page.shows('[data-name="state"]', "IDLE")
    page.alive = False
    page.shows('[data-name="stale"]', "STALE")
    page.shows(".age", "s old")
    page.alive = True
    page.shows(".age", "live")
    assert "STALE" not in page.text('[data-name="stale"]')

    page.robot.process.kill()
    page.robot.process.communicate()
    page.shows('[data-name="banner"]', "record.launch.py")
    page.until(lambda: page.text('[data-name="state"]') in ("NO RECORDER", "RECORDER SILENT"), "the recorder's absence")
    assert not page.browser.find_element(By.CSS_SELECTOR, '[data-name="begin"]').is_enabled()
    page.robot.status = None
    page.robot.launch(tmp_path / "episodes")
    page.shows('[data-name="state"]', "IDLE")
    assert page.text('[data-name="banner"]') == ""


@pytest.mark.long
def test_a_panel_that_hangs_or_ends_is_said_by_the_page_itself_until_it_is_back(page, tmp_path):
    page.shows(".age", "live")
    page.panel.process.send_signal(signal.SIGSTOP)
    page.shows(".dead", "does not answer")
    page.panel.process.send_signal(signal.SIGCONT)
    page.until(lambda: not page.text(".dead"), "the panel again")
    status, said = page.panel.end()
    assert status == 0 and "Traceback" not in said
    page.shows(".dead", "does not answer")
    again = PanelProcess(page.robot, tmp_path / "episodes", port=page.panel.port)
    try:
        page.until(lambda: not page.text(".dead") and "live" in page.text(".age"), "the new panel")
        assert again.end()[0] == 0
    finally:
        again.close()
