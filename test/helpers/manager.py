"""The life-cycle and parameter services of a running fusion node."""

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters

from helpers.ros_processes import RemoteParameters, answer, spin_until


class Manager:
    """Calls the node's lifecycle and parameter services, as `ros2 lifecycle` and `param` do."""

    def __init__(self, node):
        self.node = node
        self._change = node.create_client(ChangeState, "fusion_node/change_state")
        self._state = node.create_client(GetState, "fusion_node/get_state")
        self.parameters = RemoteParameters(node, "fusion_node")
        self._describe = node.create_client(DescribeParameters, "fusion_node/describe_parameters")
        for service in (self._change, self._state, self._describe):
            assert spin_until(node, service.service_is_ready)
        self.describe("variant")  # the client made last: from now on every call has its answer

    def _wait(self, future):
        assert spin_until(self.node, future.done)
        return future.result()

    def ask_for_change(self, transition):
        """The answer that is to come."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self._change.call_async(request)

    def change(self, transition):
        return self._wait(self.ask_for_change(transition)).success

    def state(self):
        return self._wait(self._state.call_async(GetState.Request())).current_state.id

    def describe(self, name):
        request = DescribeParameters.Request(names=[name])
        return answer(self.node, lambda: self._describe.call_async(request)).descriptors[0]
