"""Renews cutover/kafka/embedded/kafka.lock.json: resolves Apache Kafka's jars with jgo and writes their checksums."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

LOCK = Path(__file__).parent.parent / "cutover/kafka/embedded/kafka.lock.json"
SLF4J_SIMPLE = "org.slf4j:slf4j-simple:1.7.36"


def main(kafka: str) -> None:
    """Resolves version `kafka` and rewrites the lock."""
    jars = {}
    with tempfile.TemporaryDirectory() as cache:
        maven = MavenContext(PythonResolver(), repo_cache=Path(cache), timeout=30)
        # Resolved apart: together, the parent of the logger would manage the versions of Kafka's own jars.
        for endpoint in (f"org.apache.kafka:kafka_2.13:{kafka}", SLF4J_SIMPLE):
            inputs, transitive = maven.resolver.resolve([maven.create_dependency(endpoint)])
            for dependency in [*inputs, *transitive]:
                artifact = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
                content = Path(dependency.artifact.resolve()).read_bytes()
                jars[artifact] = {"artifact": artifact, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    LOCK.write_text(json.dumps({"kafka": kafka, "jars": list(jars.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
