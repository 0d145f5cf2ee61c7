"""Metrics under controller-runtime's names, so that existing dashboards and alerts work; never a name of an object."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

QUEUE = "resources"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All instruments of one operator."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=registry)
        self.reconciles = Counter(
            "controller_runtime_reconcile_total", "Reconciliations.", ["controller", "result"], registry=registry
        )
        self.errors = Counter(
            "controller_runtime_reconcile_errors_total", "Failed ones.", ["controller"], registry=registry
        )
        self.panics = Counter(
            "controller_runtime_reconcile_panics_total", "Bugs in decisions.", ["controller"], registry=registry
        )
        self.duration = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time of a reconciliation.",
            ["controller"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.workers = Gauge(
            "controller_runtime_active_workers", "Reconciliations going on.", ["controller"], registry=registry
        )
        self.max_workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers.", ["controller"], registry=registry
        )
        self.depth = Gauge("workqueue_depth", "Keys that wait.", ["name"], registry=registry).labels(QUEUE)
        self.adds = Counter("workqueue_adds_total", "Keys added.", ["name"], registry=registry).labels(QUEUE)
        self.retries = Counter("workqueue_retries_total", "Keys added again.", ["name"], registry=registry).labels(
            QUEUE
        )
        self.waited = Histogram(
            "workqueue_queue_duration_seconds", "Time in the queue.", ["name"], buckets=_SECONDS, registry=registry
        ).labels(QUEUE)
        self.worked = Histogram(
            "workqueue_work_duration_seconds", "Time at work.", ["name"], buckets=_SECONDS, registry=registry
        ).labels(QUEUE)
        self.unfinished = Gauge(
            "workqueue_unfinished_work_seconds", "Time at work that is not done.", ["name"], registry=registry
        ).labels(QUEUE)
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds", "Oldest work going on.", ["name"], registry=registry
        ).labels(QUEUE)
        self.requests = Counter(
            "rest_client_requests_total", "Requests to the API server.", ["code", "method", "host"], registry=registry
        )
        self.writes = Counter("deepseek_operator_writes_total", "Changes made.", ["verb", "kind"], registry=registry)
        self.leader = Gauge("leader_election_master_status", "Whether this process leads.", ["name"], registry=registry)
        self.events_dropped = Counter(
            "deepseek_operator_events_dropped_total", "Events beyond the rate limit.", registry=registry
        )

    def count_requests(self, host: str) -> Callable[[str, int], None]:
        """The callback of `client.Client`."""
        return lambda method, code: self.requests.labels(str(code or "error"), method, host).inc()


class ConditionCollector(Collector):
    """How many resources of a kind have a condition in a state."""

    def __init__(self, counts: Mapping[tuple[str, str, str], int]) -> None:
        """`counts` by kind, type and status; looked at when asked."""
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """One gauge."""
        family = GaugeMetricFamily(
            "deepseek_operator_status_condition",
            "Resources by condition.",
            labels=["kind", "condition", "status"],
        )
        for labels, count in sorted(self._counts.items()):
            family.add_metric(labels, count)
        yield family
