"""The sensor that listens to the bus, and the triggers that wait for something without holding a worker."""
