"""Installs cdp_ros as an ament_python package."""

from setuptools import find_packages, setup

NAME = "cdp_ros"

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
    description="What every node does alike at its ROS edge: typed parameters, stamps, signals.",
    license="Apache-2.0",
)
