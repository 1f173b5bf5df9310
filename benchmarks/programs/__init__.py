"""What runs in a process of its own while it is measured; one module a system, one mode a task."""
