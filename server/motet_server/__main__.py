"""``python -m motet_server`` is the ``motet`` command."""

from motet_server.cli import main

if __name__ == "__main__":
    main()
