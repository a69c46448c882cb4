"""The edge process: reads devices, keeps samples until the hub has them, acts safely."""
