"""One module a version; see ``collector.migrations``."""
