"""The two cameras, and a way to hold one thing for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Camera(str, Enum):
    """One of the two cameras; its value is its name in topics, parameters and files."""

    INFRARED = "infrared"
    VISIBLE = "visible"

    def __str__(self) -> str:
        return self.value

    @property
    def other(self) -> Camera:
        """The other camera."""
        return Camera.VISIBLE if self is Camera.INFRARED else Camera.INFRARED


@dataclass
class Both(Generic[T]):
    """One thing for each camera. Iterates over the infrared one first, then the visible one."""

    infrared: T
    visible: T

    @classmethod
    def make(cls, factory: Callable[[Camera], T]) -> Both[T]:
        """What ``factory`` returns for each camera."""
        return cls(factory(Camera.INFRARED), factory(Camera.VISIBLE))

    def __getitem__(self, camera: Camera) -> T:
        return self.infrared if camera == Camera.INFRARED else self.visible

    def __setitem__(self, camera: Camera, value: T) -> None:
        setattr(self, camera.value, value)

    def __iter__(self) -> Iterator[T]:
        yield self.infrared
        yield self.visible

    def items(self) -> Iterator[tuple[Camera, T]]:
        """Each camera and its thing."""
        yield Camera.INFRARED, self.infrared
        yield Camera.VISIBLE, self.visible

    def map(self, function: Callable[[T], R]) -> Both[R]:
        """The same for both, each thing replaced by ``function`` of it."""
        return Both(function(self.infrared), function(self.visible))
