"""Delivery: what lies beside a validated image for who takes it on: its manifest, and its provenance.

docs/images.md describes both. The database says which images are to have them; writing may fail and is tried again.
"""
