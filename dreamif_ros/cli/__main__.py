"""``python -m dreamif_ros.cli``: the command where no script is installed."""

import sys

from dreamif_ros.cli import main

sys.exit(main())
