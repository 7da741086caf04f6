"""The fusion node on the time of /clock, as while a bag is replayed."""

import pytest
from helpers.fusion_rig import NODE, PATIENT, Rig
from helpers.ros_processes import client, parameters, running, spin_until
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.realtime


def test_ages_are_of_simulated_time_and_a_jump_back_is_said_once(tmp_path):
    values = parameters(variant="average", use_sim_time="true", **PATIENT)
    with (
        running(NODE, *values, log=tmp_path / "log") as process,
        client() as node,
    ):
        rig = Rig(node, process)
        clock = node.create_publisher(Clock, "/clock", 10)
        assert spin_until(node, clock.get_subscription_count)

        for count, seconds in enumerate((150, 151, 110, 111), start=1):
            message = Clock()
            message.clock.sec, message.clock.nanosec = seconds, 250_000_000
            clock.publish(message)
            spin_until(node, lambda: False, 0.2)  # /clock and the images have no order
            rig.frame = seconds - 101
            rig.send(*rig.good_pair())
            rig.wait(count)
        stamps = [message.header.stamp.sec for message in rig.heard["fused/image_raw"]]
        assert stamps == [150, 151, 110, 111]
        assert spin_until(node, lambda: rig.state.get("published") == "4", 5.0)
        # Published a quarter of a second after its stamp, on a clock that stood still meanwhile.
        assert abs(float(rig.state["stamp_to_publish p50 (ms)"]) - 250.0) < 1.0
        assert process.output().count("time went back") == 1
