"""Installs cdp_franka_sim as an ament_python package."""

from setuptools import find_packages, setup

NAME = "cdp_franka_sim"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="CDP maintainers",
    maintainer_email="maintainers@cdp-robotics.org",
    description="MuJoCo Franka with camera and tasks behind the topics of the real robot.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_node = cdp_franka_sim.sim_node:main",
            "scripted_operator = cdp_franka_sim.scripted_operator:main",
            "episode_runner = cdp_franka_sim.episode_runner:main",
        ],
        "cdp.commands": [
            "eval = cdp_franka_sim.commands:register_eval",
            "demos = cdp_franka_sim.commands:register_demos",
            "replay = cdp_franka_sim.commands_replay:register",
        ],
        "cdp.rollouts": ["slide = cdp_franka_sim.evaluate:run_episodes"],
    },
)
