"""Gating: whether a package, a compose or an image has passed what the policies ask for, and what was waived of it."""
