"""From messages to committed points: decode, check, commit with the ledger's marks, acknowledge, receipt, live."""
