"""The message bus: what is published (schemas, events, publisher) and what arrives (topology, consumer, inbound).

Nothing is imported here, so that `schemas` and `fedora_ci` load with fedora-messaging alone.
"""
