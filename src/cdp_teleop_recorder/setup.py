"""Installs cdp_teleop_recorder as an ament_python package."""

from setuptools import find_packages, setup

NAME = "cdp_teleop_recorder"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={NAME: ["py.typed", "panel/panel.css", "panel/panel.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="CDP maintainers",
    maintainer_email="maintainers@cdp-robotics.org",
    description="SpaceMouse teleoperation and the episode recorder.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "panel_node = cdp_teleop_recorder.panel.main:main",
            "replay_node = cdp_teleop_recorder.replay_node:main",
            "recorder_node = cdp_teleop_recorder.recorder_node:main",
            "teleop_node = cdp_teleop_recorder.teleop_node:main",
        ],
        "cdp.commands": [
            "camera-check = cdp_teleop_recorder.camera_check:register_camera_check",
            "devices = cdp_teleop_recorder.commands:register_devices",
            "doctor = cdp_teleop_recorder.doctor.command:register_doctor",
            "hand-eye = cdp_teleop_recorder.hand_eye.command:register_hand_eye",
        ],
    },
)
