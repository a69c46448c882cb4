"""The registry: SQLAlchemy models of everything that is no time series."""
