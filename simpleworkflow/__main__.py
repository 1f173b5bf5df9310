"""`python -m simpleworkflow` is the command `simpleworkflow`."""

from simpleworkflow.cli import main

if __name__ == "__main__":
    main(prog_name="simpleworkflow")
