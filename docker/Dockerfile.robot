# The robot PC: ROS 2 Jazzy, franka_ros2 from source, this workspace.
#   docker build -f docker/Dockerfile.robot -t cdp-robot .
#   docker run --rm -it --network host --ipc host --cap-add SYS_NICE --ulimit rtprio=99 --ulimit memlock=-1 \
#     cdp-robot ros2 launch cdp_policy_node franka_slide.launch.py robot_ip:=172.16.0.2
# The host needs a PREEMPT_RT kernel and Docker Engine (not Docker Desktop): see docs/install.md.
FROM ros:jazzy-ros-base

# The release must fit the robot's system image and its libfranka: see the compatibility table of franka_ros2.
ARG FRANKA_ROS2_REF=v3.5.2
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive

RUN apt-get update && apt-get install -y --no-install-recommends \
      git python3-vcstool python3-venv python3-dev ros-dev-tools ros-jazzy-rmw-cyclonedds-cpp ros-jazzy-spacenav spacenavd \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/franka
RUN git clone --depth 1 --branch "$FRANKA_ROS2_REF" https://github.com/frankarobotics/franka_ros2.git src \
    && vcs import src < src/dependency.repos --recursive --skip-existing
RUN apt-get update && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src --rosdistro jazzy -y \
    && rm -rf /var/lib/apt/lists/*
RUN . /opt/ros/jazzy/setup.bash && colcon build --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF

COPY . /opt/cdp
WORKDIR /opt/cdp
RUN apt-get update \
    && rosdep install --from-paths src --ignore-src --rosdistro jazzy -y \
    && tools/setup.sh \
    && rm -rf /var/lib/apt/lists/*

ENV CDP_UNDERLAY=/opt/franka/install ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET
ENTRYPOINT ["/opt/cdp/docker/entrypoint.sh"]
CMD ["bash"]
