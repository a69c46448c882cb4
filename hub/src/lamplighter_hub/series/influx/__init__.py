"""The series store in InfluxDB 2 (docs/decisions/0045)."""
