"""A frame-aware Kafka proxy for tests: it holds, drops or acts on single request frames and alters none."""

from tests.proxy.frames import Answer, Request
from tests.proxy.proxy import Proxy
from tests.proxy.rules import Held, Rule

__all__ = ["Answer", "Held", "Proxy", "Request", "Rule"]
