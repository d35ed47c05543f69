"""Counters, gauges, histograms, labels, and their export."""

import math
import threading

import pytest

from llmspell.errors import InvalidArgument, LimitExceeded
from llmspell.metrics import Metrics
from llmspell.metrics.registry import BUILT_IN, MAX_SERIES, Histogram, percentile


@pytest.fixture
def metrics():
    return Metrics()


def test_counts_of_eight_threads_are_exact(metrics):
    counter = metrics.counter("jobs")

    def work():
        for _ in range(2000):
            counter.inc(kind="x")
            counter.inc(2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.peek({"kind": "x"}).value == 16_000
    assert counter.peek({}).value == 32_000


def test_integers_stay_integers(metrics):
    counter = metrics.counter("jobs").at({})
    counter.inc()
    counter.inc(2)
    assert repr(counter.value) == "3"
    counter.inc(0.5)
    assert counter.value == 3.5


def test_a_label_set_is_one_series_whatever_its_order(metrics):
    gauge = metrics.gauge("g")
    gauge.set(1, a="x", b=True)
    gauge.set(2, b="true", a="x")
    assert len(gauge.series) == 1
    assert gauge.peek({"a": "x", "b": True}).value == 2
    assert gauge.peek({"a": "y"}) is None


def test_label_sets_past_the_limit_are_counted_together(metrics):
    counter = metrics.counter("jobs")
    for n in range(MAX_SERIES + 50):
        counter.inc(n=n)
    assert len(counter.series) == MAX_SERIES + 1
    assert counter.peek({"n": "other"}).value == 50


def test_scripts_cannot_fill_the_memory_with_series(metrics):
    with pytest.raises(LimitExceeded):
        fill(metrics)
    metrics.counter("llmspell_tool_calls_total").inc(tool="still works")


def fill(metrics):
    for name in range(12):
        counter = metrics.counter(f"m{name}", script=True)
        for n in range(1000):
            counter.inc(n=n)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a\n", "x" * 201])
def test_a_bad_name_is_refused(metrics, name):
    with pytest.raises(InvalidArgument):
        metrics.counter(name)


def test_a_name_has_one_kind_and_one_exported_form(metrics):
    metrics.counter("a.b")
    with pytest.raises(InvalidArgument):
        metrics.gauge("a.b")
    with pytest.raises(InvalidArgument):
        metrics.counter("a_b")
    assert metrics.counter("a.b") is metrics.find("a.b")


def test_a_bad_label_is_refused(metrics):
    for labels in ({"a-b": 1}, {"a": [1]}):
        with pytest.raises(InvalidArgument):
            metrics.counter("a").at(labels)


def test_declared_labels_are_the_only_ones(metrics):
    counter = metrics.counter("a", "help", ("x", "y"))
    counter.inc(x=1)
    with pytest.raises(InvalidArgument):
        counter.inc(z=1)


def test_a_histogram_summary_is_exact_for_few_observations():
    histogram = Histogram((1, 2, 5))
    assert histogram.summary()["avg"] is None
    for value in range(1, 101):
        histogram.observe(value)
    assert histogram.summary() == {
        "count": 100, "sum": 5050, "min": 1, "max": 100, "avg": 50.5, "p50": 50, "p95": 95, "p99": 99,
    }  # fmt: skip
    assert histogram.counts == [1, 1, 3, 95]


def test_percentiles_of_many_observations_come_from_a_fair_sample():
    histogram = Histogram(())
    for value in range(50_000):
        histogram.observe(value)
    summary = histogram.summary()
    assert (summary["count"], summary["max"]) == (50_000, 49_999)
    assert abs(summary["p50"] - 25_000) < 4000
    assert abs(summary["p95"] - 47_500) < 2500


def test_percentiles_are_by_nearest_rank():
    assert [percentile([1, 2, 3, 4], share) for share in (1, 25, 26, 50, 100)] == [1, 1, 2, 2, 4]
    assert percentile([], 50) is None


def test_a_timer_observes_seconds(metrics):
    with metrics.timer("work", kind="x"):
        pass
    summary = metrics.find("work").peek({"kind": "x"}).summary()
    assert summary["count"] == 1
    assert 0 <= summary["sum"] < 1


def test_the_prometheus_text_is_the_exposition_format(metrics):
    metrics.counter("jobs.done", 'all\njobs "x"').inc(3, kind='a"b\\c\n')
    metrics.gauge("level").set(-math.inf)
    histogram = metrics.histogram("t", buckets=[1, 2.5])
    for value in (0.5, 2, 9):
        histogram.observe(value, k="v")
    assert metrics.prometheus() == (
        '# HELP jobs_done all\\njobs "x"\n'
        "# TYPE jobs_done counter\n"
        'jobs_done{kind="a\\"b\\\\c\\n"} 3\n'
        "# TYPE level gauge\n"
        "level -Inf\n"
        "# TYPE t histogram\n"
        't_bucket{k="v",le="1"} 1\n'
        't_bucket{k="v",le="2.5"} 2\n'
        't_bucket{k="v",le="+Inf"} 3\n'
        't_sum{k="v"} 11.5\n'
        't_count{k="v"} 3\n'
    )


def test_a_snapshot_is_plain_data_of_what_moved(metrics):
    metrics.counter("a").inc(2, x="y")
    metrics.gauge("silent")
    assert metrics.snapshot() == {"a": {"kind": "counter", "series": [{"labels": {"x": "y"}, "value": 2}]}}


def test_the_products_own_metrics_are_there_from_the_start(metrics):
    assert {f"llmspell_{name}" for name in BUILT_IN} == set(metrics.names())
    assert metrics.prometheus() == ""


def test_a_reset_by_a_script_spares_the_products_own(metrics):
    metrics.counter("llmspell_tool_calls_total").inc(tool="x")
    metrics.counter("mine", script=True).inc()
    metrics.reset(script=True)
    assert metrics.find("mine") is None
    assert metrics.find("llmspell_tool_calls_total").peek({"tool": "x"}).value == 1
    metrics.reset()
    assert metrics.snapshot() == {}


def test_buckets_must_ascend(metrics):
    for buckets in ([2, 1], [1, 1], list(range(101))):
        with pytest.raises(InvalidArgument):
            metrics.histogram("h", buckets=buckets)
