"""Vector storages: one file per engine; the file name is the scheme of its URL."""
