"""`python -m burnmeter`: the same as the command `burnmeter`."""

from burnmeter.cli import main

if __name__ == "__main__":
    main()
