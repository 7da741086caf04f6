"""Tensor operations that are captured once as a CUDA graph, then replayed.

One launch replaces hundreds, which take longer than the arithmetic of a small network.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Stage = Callable[..., Tensors]
Capture = Callable[[Callable[[], Tensors]], tuple[Callable[[], None], Tensors]]

WARM_UPS = 3  # runs before a capture: cuDNN chooses kernels, libraries allocate memory


def capture_cuda_graph(run: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
    """Record ``run``; return what replays it, and the tensors that a replay fills."""
    chooses = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # pays off for a size that comes again and again
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads do on the device does not break the capture.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            outputs = run()
    finally:
        torch.backends.cudnn.benchmark = chooses
    return graph.replay, outputs


class CapturedStage:
    """Calls ``run`` as a CUDA graph, from the second call in a row with tensors of one size.

    It waits for the second call because images that all differ in size would only cost captures.
    If a capture fails, it warns and calls ``run`` directly from then on. The next call overwrites
    the returned tensors. Use it in inference mode, in one thread at a time.
    """

    def __init__(self, run: Stage, capture: Capture = capture_cuda_graph) -> None:
        self._run, self._capture = run, capture
        self._usable = True
        self._forget([])

    @property
    def is_captured(self) -> bool:
        """Whether the next call with the same size replays a graph."""
        return self._replay is not None

    def __call__(self, *inputs: Tensor) -> Tensors:
        sizes = [(tensor.shape, tensor.dtype) for tensor in inputs]
        if sizes != self._sizes:
            self._forget(sizes)
            return self._run(*inputs)
        if self._replay is None and self._usable:
            self._record(inputs)
        if self._replay is None:
            return self._run(*inputs)
        for kept, tensor in zip(self._inputs, inputs, strict=True):
            kept.copy_(tensor)
        self._replay()
        return self._outputs

    def _forget(self, sizes: list[tuple[torch.Size, torch.dtype]]) -> None:
        """Drop the graph and its memory, and expect tensors of these sizes."""
        self._sizes = sizes
        self._replay: Callable[[], None] | None = None
        self._inputs: Tensors = ()
        self._outputs: Tensors = ()

    def _record(self, inputs: Tensors) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        try:
            with torch.cuda.device_of(inputs[0]):
                self._replay, self._outputs = self._capture(lambda: self._run(*self._inputs))
        except RuntimeError as error:  # out of memory too
            self._usable = False
            self._forget(self._sizes)
            warnings.warn(
                f"no CUDA graph, so frames take longer: the capture failed ({error})",
                RuntimeWarning,
                stacklevel=2,
            )
