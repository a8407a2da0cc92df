"""The datahub: what came of every change, for those who decide on it. One model for commands, the API and the sinks."""
