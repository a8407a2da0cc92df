"""The pipeline's own database: the ledger, the runs and their results, the images and the outbox."""

from ci_pipeline.store.database import let_go, migrate, session, transact

__all__ = ["let_go", "migrate", "session", "transact"]
