"""Time series, events, ledger marks and quarantine: one seam, several stores."""
