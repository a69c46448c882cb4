"""The embedded broker, who may connect to it, and the configuration of others."""
