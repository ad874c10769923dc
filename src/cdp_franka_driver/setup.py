"""Installs cdp_franka_driver as an ament_python package."""

from setuptools import find_packages, setup

NAME = "cdp_franka_driver"

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
    description="libfranka driver: the topics of franka_ros2 without ros2_control.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["franka_driver = cdp_franka_driver.driver_node:main", "franka_hand = cdp_franka_driver.hand_node:main"]},
)
