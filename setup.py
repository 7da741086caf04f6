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
    packages=find_packages(include=["dreamif_model*", "dreamif_ros*"]),
    package_data={"": ["*.xml", "py.typed"], "dreamif_model": ["weights/*"]},
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
        "PyYAML",
        "rosbags",
        "safetensors",
        "torch",
        "tqdm",
    ],
    extras_require={
        # What apt provides on a ROS installation, as wheels; a second copy there would clash.
        "ros": ["ros-rclpy[fastrtps]", "ros-sensor-msgs", "ros-diagnostic-msgs", "ros-std-msgs"],
        "evaluate": ["PyWavelets", "scikit-image"],  # classic denoisers as rivals
        "train": ["tensorboard"],
        "test": [
            "colcon-common-extensions",
            "hypothesis",
            "lpips",  # as scikit-image, scipy and sewar: metrics to compare ours with
            "mypy",
            "pytest",
            "pytest-timeout",
            "PyWavelets",
            "ruff",
            "scikit-image",
            "scipy",
            "setuptools",
            "sewar",
            "tensorboard",
            "torchvision",  # lpips takes AlexNet from it
        ],
    },
    entry_points={
        "console_scripts": [
            "dreamif = dreamif_ros.cli:main",
            "fusion_node = dreamif_ros.executables:fusion_node",
            "simulated_cameras = dreamif_ros.executables:simulated_cameras",
        ],
    },
)
