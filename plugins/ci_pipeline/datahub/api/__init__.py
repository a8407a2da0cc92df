"""The datahub's read API: what came of every change, for programs. docs/datahub.md shows it by example."""
