"""Where state lies: one file per backend; the file name is the name in the configuration."""
