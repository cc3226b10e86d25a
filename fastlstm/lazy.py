"""Attributes that are computed at the first access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):
    """`functools.cached_property` without a lock.

    In Python 3.10 and 3.11 it has one lock for all instances of a class, held while one of them
    computes: a child that is forked meanwhile inherits the lock held, for good. Here two threads
    that ask at once both compute, and both get the value that was ready first.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> lazy[T] | T:
        if instance is None:
            return self
        # from now on the instance has an attribute of this name, which Python finds before this one
        found: T = vars(instance).setdefault(self.name, self.compute(instance))
        return found
