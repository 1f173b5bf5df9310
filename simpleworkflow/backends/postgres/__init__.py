"""The PostgreSQL store: everything that its drivers share."""
