"""How OpenMP's threads wait, set before torch loads OpenMP; a setting of the user's wins.

Waiting threads otherwise spin. With another program on one of two cores, as on any robot, an
inference with spinning threads took three to four times as long as with sleeping ones.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
