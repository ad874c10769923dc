"""Installs cdp_policy_node as an ament_python package."""

from setuptools import find_packages, setup

NAME = "cdp_policy_node"

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
    description="Lifecycle policy node and command guard: the ROS edge of cdp and cdp_franka.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = cdp_policy_node.policy_node:main",
            "guard_node = cdp_policy_node.guard_node:main",
        ]
    },
)
