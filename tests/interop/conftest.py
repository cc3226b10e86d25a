"""The tests that need the frameworks: random networks have forms of their own to compile."""

import pytest


@pytest.fixture(autouse=True)
def _few_kernels(few_kernels):
    pass
