"""Figures of a serving engine for Prometheus; the names follow vLLM's, with this project's prefix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deepseek_runtime.serve.scheduler import Scheduler

PREFIX = "deepseek_engine"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_GAP_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Counts what the engine does; every series has the label `model_name`."""

    def __init__(self, model_name: str) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, ("model_name",), registry=self.registry).labels(model_name)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, ("model_name",), registry=self.registry).labels(model_name)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            series = Histogram(f"{PREFIX}_{name}", text, ("model_name",), registry=self.registry, buckets=buckets)
            return series.labels(model_name)

        self._running = gauge("num_requests_running", "Requests in the batch.")
        self._waiting = gauge("num_requests_waiting", "Requests in the queue.")
        self._cache = gauge("kv_cache_usage_perc", "Part of the cache's blocks in use, 0 to 1.")
        self._preemptions = counter("num_preemptions", "Requests that gave their blocks back and were computed again.")
        self._computed = counter("computed_tokens", "Tokens of prompts and answers that went through the model.")
        self._prompt = counter("prompt_tokens", "Tokens of accepted prompts.")
        self._generated = counter("generation_tokens", "Tokens generated.")
        self._first = histogram("time_to_first_token_seconds", "From arrival to the first token.", _SECONDS)
        self._gap = histogram("inter_token_latency_seconds", "Between tokens of one answer.", _GAP_SECONDS)
        self._whole = histogram("e2e_request_latency_seconds", "From arrival to the last token.", _SECONDS)
        self._finished = Counter(
            f"{PREFIX}_requests",
            "Requests by how they ended.",
            ("model_name", "finished_reason"),
            registry=self.registry,
        )
        self._model_name = model_name
        self._seen_preemptions = 0

    def observe_queue(self, scheduler: Scheduler) -> None:
        """Take over what the scheduler holds now."""
        self._running.set(len(scheduler.running))
        self._waiting.set(len(scheduler.waiting))
        self._cache.set(scheduler.pool.used)
        self._preemptions.inc(scheduler.preemptions - self._seen_preemptions)
        self._seen_preemptions = scheduler.preemptions

    def accepted(self, prompt_tokens: int) -> None:
        """A request was taken in."""
        self._prompt.inc(prompt_tokens)

    def stepped(self, computed: int, generated: int) -> None:
        """An iteration ended."""
        self._computed.inc(computed)
        self._generated.inc(generated)

    def token(self, seconds: float, *, first: bool) -> None:
        """A token came so long after the one before it, or after the request's arrival."""
        (self._first if first else self._gap).observe(seconds)

    def finished(self, reason: str, arrived: float, now: float) -> None:
        """A request ended: `stop`, `length` or `cancelled`."""
        self._finished.labels(self._model_name, reason).inc()
        self._whole.observe(now - arrived)
