"""`python -m sluicegate_cli`: the same as `sluicegate`."""

from sluicegate_cli.main import main

if __name__ == "__main__":
    main()
