"""Attributes that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):
    """`functools.cached_property` without a lock.

    That of Python 3.10 and 3.11 has one for all instances of a class, held while one of them
    computes: a process that is forked meanwhile inherits it locked, for good. Here two threads
    that ask at once both compute, and all get the value of the one that was ready first.
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
        # from now on the instance has an attribute of that name, which comes before this one
        found: T = vars(instance).setdefault(self.name, self.compute(instance))
        return found
