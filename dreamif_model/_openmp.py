"""How OpenMP's threads wait, set before torch loads OpenMP; a setting of the user's wins.

Waiting threads otherwise spin. With another program on one of two cores, as on any robot, an
inference of torch with spinning threads took three to four times as long as with sleeping ones.
OpenVINO and ONNX Runtime have threads of their own, which sleep.
"""

import os
import sys

_NAME = "OMP_WAIT_POLICY"

# A program that has imported torch before us: OpenMP has read its settings already.
SET_TOO_LATE = "torch" in sys.modules and _NAME not in os.environ
os.environ.setdefault(_NAME, "passive")
