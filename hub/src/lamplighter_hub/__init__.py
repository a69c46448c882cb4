"""The central service: ingest, series, registry, control, API and console."""
