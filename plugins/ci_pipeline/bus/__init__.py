"""The message bus: what is published (schemas, events, publisher) and what arrives (topology, consumer, inbound).

Nothing is imported here, so that `ci_pipeline.bus.schemas` loads with fedora-messaging alone.
"""
