"""The operators of the pipeline: one per stage, all of them a `StageOperator`, and `complete`."""
