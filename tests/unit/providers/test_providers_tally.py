from llmspell.base.types import Usage
from llmspell.metrics import Metrics
from llmspell.providers._tally import Tally


def calls(metrics, **labels):
    return metrics.counter("llmspell_model_calls_total").at(labels).value


def test_calls_are_mirrored_into_the_metrics_also_after_a_reset():
    metrics = Metrics()
    tally = Tally(metrics)
    tally.count("p", "m", Usage(input_tokens=3, output_tokens=1, cost_usd=0.5), latency_ms=20)
    tally.count("p", "m", None, latency_ms=1)
    assert calls(metrics, provider="p", model="m", status="ok") == 1
    assert calls(metrics, provider="p", model="m", status="error") == 1
    metrics.reset()
    tally.count("p", "m", Usage(input_tokens=3), latency_ms=20)
    assert calls(metrics, provider="p", model="m", status="ok") == 1
    assert metrics.counter("llmspell_tokens_total").at({"provider": "p", "model": "m", "direction": "input"}).value == 3
    assert tally.read("p")["requests"] == 3
    assert tally.read("unknown")["requests"] == 0
