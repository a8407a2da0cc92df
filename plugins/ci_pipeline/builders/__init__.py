"""Builders: other machines that stages are carried out on, over SSH. docs/builders.md tells how."""
