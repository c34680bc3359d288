"""``python -m stream`` is ``livesegments``."""

from stream.cli import main

if __name__ == "__main__":
    main()
