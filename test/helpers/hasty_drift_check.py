"""The fusion node, which judges its alignment by few looks without pause, as a process."""

import sys

from dreamif_model.registration import drift
from dreamif_ros.fusion import drift_check, fuser, node

if __name__ == "__main__":
    drift.LOOKS = 3
    drift_check.PERIOD_S = fuser.SCORE_PERIOD_S = 0.0
    sys.exit(node.main())
