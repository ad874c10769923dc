"""The panel as a process of its own, beside a robot and its recorder."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

PANEL = "from cdp_teleop_recorder.panel.main import main; raise SystemExit(main())"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PanelProcess:
    """Started on the robot's domain with its episodes in ``folder``; ``until`` is the robot's way to wait."""

    def __init__(self, robot, folder, *parameters, port=None):
        self.robot, self.port = robot, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        flags = [part for argument in (f"port:={self.port}", f"directory:={folder}", *parameters) for part in ("-p", argument)]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(robot.domain), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PANEL, "--ros-args", *flags]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        robot.until(self.serves, "the panel's page")

    def serves(self):
        assert self.process.poll() is None, self.process.stdout.read()
        try:
            return self.get("/")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path, **headers):
        """Status and body."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def end(self, number=signal.SIGTERM):
        """Exit status and what it said."""
        self.process.send_signal(number)
        self.robot.until(lambda: self.process.poll() is not None, "the panel's end")
        said, _ = self.process.communicate()
        return self.process.returncode, said

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
