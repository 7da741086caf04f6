"""Lets OpenMP's threads sleep while they wait. Must run before torch loads OpenMP.

By default they spin. With another program on one of two cores, an inference of torch with spinning
threads took three to four times as long as with sleeping ones. A setting of the user's wins.
OpenVINO and ONNX Runtime have threads of their own, which sleep.
"""

import os
import sys

_NAME = "OMP_WAIT_POLICY"

# The program imported torch before us, so OpenMP has read its settings already.
SET_TOO_LATE = "torch" in sys.modules and _NAME not in os.environ
os.environ.setdefault(_NAME, "passive")
