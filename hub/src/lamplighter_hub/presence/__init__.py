"""Who is there, who is not, and why."""
