"""The command line. `entry.main` imports only `sys`; a command imports what it runs."""
