"""What the server counts about itself, as metrics for Prometheus (text format 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from catalog._version import __version__

_KINDS = ("manifests", "blobs", "referrers", "tags")


class Counts:
    """Counts responses by endpoint and status. `gauges` are more metrics: name, help, type and a function that returns the value."""

    def __init__(self) -> None:
        self._responses: Counter[tuple[str, int]] = Counter()
        self.gauges: list[tuple[str, str, str, Callable[[], float]]] = []

    def answered(self, endpoint: str, status: int) -> None:
        """Count a response; 0 is the status of a request that got none."""
        self._responses[endpoint, status] += 1

    def text(self) -> str:
        """Return all metrics."""
        lines = [
            "# HELP ocicat_serve_info The version of ocicat.",
            "# TYPE ocicat_serve_info gauge",
            f'ocicat_serve_info{{version="{__version__}"}} 1',
            "# HELP ocicat_serve_responses_total Responses, by endpoint and status.",
            "# TYPE ocicat_serve_responses_total counter",
            *(
                f'ocicat_serve_responses_total{{endpoint="{endpoint}",status="{status}"}} {count}'
                for (endpoint, status), count in sorted(self._responses.items())
            ),
        ]
        for name, sentence, kind, value in self.gauges:
            lines += [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}", f"{name} {value():g}"]
        return "\n".join([*lines, ""])


def endpoint_of(path: str) -> str:
    """Return the endpoint of a path: one of a fixed set of names, so that a client cannot add metrics."""
    parts = path.split("/")
    if path.startswith("/v2/"):
        return next((kind for kind in _KINDS if kind in parts[-2:-1]), "catalog" if path == "/v2/_catalog" else "v2")
    if path.startswith("/api/"):
        return "api"
    return path[1:] if path in ("/healthz", "/metrics") else "other"
