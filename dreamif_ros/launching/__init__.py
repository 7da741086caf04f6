"""What the launch files share. It runs in the Python of ``ros2 launch``, which may lack torch."""
