"""What Prometheus sees: counts and times of the whole gateway, never a tenant's names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """All instruments, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "deepseek_gateway_requests",
            "Requests, by endpoint and status.",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "deepseek_gateway_request_seconds",
            "From the request's head to the answer's last byte.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "deepseek_gateway_requests_in_flight", "Requests that are being answered.", registry=self.registry
        )
        self.tokens = Counter(
            "deepseek_gateway_tokens", "Tokens, as the engines counted them.", ["kind"], registry=self.registry
        )
        self.intent_seconds = Histogram(
            "deepseek_gateway_audit_intent_seconds",
            "Until an intent record is durable.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1),
            registry=self.registry,
        )
        self.stale_allows = Counter(
            "deepseek_gateway_stale_allows",
            "Requests let through on an answer that the API server, then unreachable, could not renew.",
            registry=self.registry,
        )
        self.audit_writable = Gauge(
            "deepseek_gateway_audit_writable", "1 while the audit log can be written.", registry=self.registry
        )
        self.routes = Gauge("deepseek_gateway_routes", "Services that are known.", registry=self.registry)

    def count_tokens(self, usage: dict[str, int] | None) -> None:
        """Add an answer's usage."""
        if usage is not None:
            self.tokens.labels("prompt").inc(usage["prompt_tokens"])
            self.tokens.labels("completion").inc(usage["completion_tokens"])

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)
