"""The parts of a worker, one role each; `simpleworkflow.poller` puts them together."""
