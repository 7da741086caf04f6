# The package in an image that has ROS 2 already: Jetson, Raspberry Pi. Never built: docs/deploy.md.
#
# Raspberry Pi:  docker build -f docker/ros.Dockerfile -t dreamif:ros .
# Jetson:        docker build -f docker/ros.Dockerfile -t dreamif:jetson --build-arg BASE=IMAGE .
#
# IMAGE has ROS 2, and PyTorch and TensorRT of the board's JetPack: pip's build of torch for ARM has
# no CUDA of a Jetson, and pip leaves the torch that is there.

ARG BASE=ros:jazzy-ros-base
# hadolint ignore=DL3006
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /workspace
COPY . src/dreamif_ros
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rosdep update \
    && rosdep install --from-paths src --ignore-src --dependency-types exec -y \
    && rm -rf /var/lib/apt/lists/*
# As in README.md: a second copy of NumPy or OpenCV would break cv_bridge.
# hadolint ignore=DL3013
RUN python3 -m venv --system-site-packages /opt/dreamif \
    && source /opt/dreamif/bin/activate \
    && pip install --no-cache-dir torch safetensors simplejpeg openvino-telemetry apsw lz4 ruamel.yaml backports.zstd \
    && pip install --no-cache-dir --no-deps openvino rosbags \
    && source "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && colcon build --packages-select dreamif_ros
CMD ["/bin/bash", "-c", "source /opt/dreamif/bin/activate && source install/setup.bash && exec ros2 launch dreamif_ros fusion.launch.py"]
