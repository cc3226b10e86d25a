"""The workloads of the benchmarks: their networks, lengths and operations."""

from __future__ import annotations

import bench_results  # noqa: F401  # makes `bench` importable
import pytest

from bench.harness.workload import WORKLOADS, Workload


def test_the_lengths_are_what_their_names_say():
    full = Workload("mid", 20_000, 1_000, 1, 1, 1, "float32")
    uniform = Workload(**full.__dict__ | {"lengths": "uniform"})
    logs = Workload(**full.__dict__ | {"lengths": "log-normal"})
    assert full.steps == 20_000 * 1_000
    assert (uniform.real_lengths().min(), uniform.real_lengths().max()) == (250, 1_000)
    assert uniform.real_lengths().mean() == pytest.approx(625, rel=0.01)
    assert logs.real_lengths().mean() == pytest.approx(400, rel=0.03)
    assert logs.real_lengths().min() >= 1
    assert logs.steps == logs.real_lengths().sum()


def test_the_work_of_one_layer():
    mid = Workload.named("mid", "float32")
    assert WORKLOADS["mid"] == (mid.N, mid.T, mid.I, mid.H, mid.layers)
    assert mid.steps == 4096 * 100
    assert mid.flops == mid.steps * 4 * 32 * (8 + 32) * 2


def test_the_work_of_two_layers():
    fraud = Workload.named("fraud", "float32")
    assert fraud.layers == fraud.model().num_layers == 2
    assert fraud.flops == fraud.steps * 8 * 200 * ((220 + 200) + (200 + 200))
    assert fraud.weights == sum(k.w_ih.size + k.w_hh.size for k in fraud.model().layers)


def test_a_stored_workload_is_the_workload_again():
    workload = Workload("mid", 3, 4, 5, 6, 2, "float64", "uniform")
    assert Workload.of(workload.__dict__ | {"engines": {}, "steps": 7}) == workload
