"""How the tables came to be: forward only, applied by `workers.database.upgrade` at the start of every process."""
