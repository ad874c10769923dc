# The robot PC: ROS 2 Jazzy, franka_ros2 from source, this workspace. Built and run by docker/compose.yaml: see docs/install.md.
# The host needs a real-time kernel and Docker Engine (not Docker Desktop).
# Digests: the tags as of 2026-09-16. To take a newer base: --build-arg BUILD_BASE=ros:jazzy-ros-base --build-arg RUN_BASE=ros:jazzy-ros-core
ARG BUILD_BASE=ros:jazzy-ros-base-noble@sha256:c3706ef0a0aa45413c07803cf433602f543b22e45b4855f6fca955c2d8ecc4e8
ARG RUN_BASE=ros:jazzy-ros-core-noble@sha256:32114cd33511c91307d4f5dea184dcbfb9385860bee9839b772332c8fc103856

# ---- build: compilers stay here --------------------------------------------------------------------------------------------------------------
FROM ${BUILD_BASE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive ROS_VERSION=2 ROS_PYTHON_VERSION=3
# The three belong together: the versions in dependency.repos of that franka_ros2. Which robot system each needs: docs/install.md.
ARG FRANKA_ROS2_REF=v3.4.0
ARG LIBFRANKA_REF=0.20.5
ARG FRANKA_DESCRIPTION_REF=2.8.0
# What one FR3 with a hand needs of them. The examples and the mobile base would bring MoveIt, the rest Gazebo.
ENV FRANKA_PACKAGES="libfranka franka_description franka_msgs franka_hardware franka_semantic_components franka_robot_state_broadcaster franka_gripper franka_bringup"
ENV FRANKA_WITHOUT="franka_example_controllers franka_mobile rviz2 joint_state_publisher_gui joy teleop_twist_joy teleop_twist_keyboard"
# The virtual environment brings these, newer.
ENV FROM_VENV="python3-h5py python3-matplotlib python3-opencv python3-scipy python3-tqdm"

# The CMake files of libfranka 0.20.5 and franka_ros2 3.4.0 look for these without their package.xml files naming them.
RUN apt-get update && apt-get install -y --no-install-recommends \
      libconsole-bridge-dev libeigen3-dev python3-dev python3-venv ros-jazzy-controller-interface ros-jazzy-rclcpp-components \
      ros-jazzy-rclcpp-lifecycle ros-jazzy-urdf ros-jazzy-visualization-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/franka
RUN git clone --quiet --depth 1 --branch "$FRANKA_ROS2_REF" https://github.com/frankarobotics/franka_ros2.git franka_ros2 \
    && git clone --quiet --depth 1 --branch "$LIBFRANKA_REF" --recurse-submodules --shallow-submodules https://github.com/frankarobotics/libfranka.git libfranka \
    && git clone --quiet --depth 1 --branch "$FRANKA_DESCRIPTION_REF" https://github.com/frankarobotics/franka_description.git franka_description \
    && mkdir src && for package in $FRANKA_PACKAGES; do if [ -d "franka_ros2/$package" ]; then mv "franka_ros2/$package" src/; else mv "$package" src/; fi; done \
    && rm -rf franka_ros2
RUN apt-get update && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src --rosdistro jazzy -y --skip-keys "$FRANKA_WITHOUT" \
         -t buildtool -t build -t build_export -t buildtool_export -t exec \
    && rm -rf /var/lib/apt/lists/*
RUN . /opt/ros/jazzy/setup.bash && colcon build --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DBUILD_TESTS=OFF -DBUILD_EXAMPLES=OFF

WORKDIR /opt/cdp
COPY . .
RUN apt-get update && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src --rosdistro jazzy -y --skip-keys "$FROM_VENV" \
         -t buildtool -t build -t build_export -t buildtool_export -t exec \
    && tools/setup.sh \
    && rm -rf /var/lib/apt/lists/*

# Files of requirements/ that are installed on request.
ARG EXTRAS="teleop mcap libfranka"
RUN for name in $EXTRAS; do .venv/bin/python -m pip install -qq --no-cache-dir -r "requirements/$name.txt" || exit 1; done

# cpu, or cuda: the build of torch that PyPI has, for training and for a policy that torch itself serves.
ARG TORCH=cpu
RUN case "$TORCH" in \
      cpu) ;; \
      cuda) .venv/bin/python -m pip uninstall -qq -y torch \
        && .venv/bin/python -m pip install -qq --no-cache-dir -c requirements/constraints.txt "$(grep '^torch==' requirements/torch.txt)" \
        && .venv/bin/python -c 'import torch; assert torch.version.cuda, "PyPI has no CUDA build of this torch for this machine"' ;; \
      *) echo "TORCH=$TORCH: cpu or cuda" >&2; exit 1 ;; \
    esac

# What the two workspaces need to run, as apt names, for the stage below.
RUN echo "$FRANKA_WITHOUT $FROM_VENV $FRANKA_PACKAGES" | tr ' ' '\n' >/tmp/not-by-apt \
    && for path in /opt/franka/src /opt/cdp/src; do rosdep keys --from-paths "$path" --ignore-src --rosdistro jazzy -t exec; done \
      | grep -vxF -f /tmp/not-by-apt | sort -u | xargs rosdep resolve --rosdistro jazzy | grep -v '^#' | tr ' ' '\n' | sort -u >/opt/runtime.txt

# ---- run -------------------------------------------------------------------------------------------------------------------------------------
FROM ${RUN_BASE} AS run
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=build /opt/runtime.txt /opt/runtime.txt
# Controllers for config/controllers_fr3.yaml, `ros2 control` to recover by, the other middleware, devices, cameras, and Mesa to draw the simulated arm without a display.
RUN apt-get update && xargs -a /opt/runtime.txt apt-get install -y --no-install-recommends \
      ros-jazzy-controller-manager ros-jazzy-joint-trajectory-controller ros-jazzy-ros2controlcli ros-jazzy-rmw-cyclonedds-cpp \
      ros-jazzy-urdf ros-jazzy-visualization-msgs ros-jazzy-realsense2-camera ros-jazzy-v4l2-camera ros-jazzy-spacenav ros-jazzy-joy \
      libhidapi-hidraw0 libspnav0 libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0 \
    && rm -rf /var/lib/apt/lists/*

# A user with the ids of the one outside: files under data/ and runs/ are theirs, and Fast DDS shares memory between equal users only.
ARG USER_UID=1000
ARG USER_GID=1000
RUN if [ "$USER_UID" = 0 ]; then echo "USER_UID=0: build as the user who runs the arm, not as root" >&2; exit 1; fi \
    && if getent passwd "$USER_UID" >/dev/null; then userdel --remove "$(getent passwd "$USER_UID" | cut -d: -f1)"; fi \
    && { getent group "$USER_GID" >/dev/null || groupadd --gid "$USER_GID" cdp; } \
    && useradd --no-log-init --uid "$USER_UID" --gid "$USER_GID" --create-home --shell /bin/bash cdp \
    && install -d -o "$USER_UID" -g "$USER_GID" /srv/cdp/data /srv/cdp/runs /srv/cdp/models

COPY --from=build /opt/franka/install /opt/franka/install
# With build/ and src/: the workspace is installed by links.
COPY --from=build /opt/cdp /opt/cdp
ENV CDP_UNDERLAY=/opt/franka/install
USER ${USER_UID}
WORKDIR /srv/cdp
ENTRYPOINT ["/opt/cdp/docker/entrypoint.sh"]
# A package that only the build had would show here.
RUN /opt/cdp/docker/entrypoint.sh cdp core-check \
    && /opt/cdp/docker/entrypoint.sh ros2 launch cdp_policy_node franka_slide.launch.py --show-args >/dev/null \
    && /opt/cdp/docker/entrypoint.sh ros2 launch franka_bringup franka.launch.py --show-args >/dev/null
CMD ["bash"]
