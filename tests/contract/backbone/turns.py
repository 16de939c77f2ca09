"""How often the tests that take real workers and seconds are repeated: `make owners N=30`."""

import os

TURNS = range(int(os.environ.get("TURNS", "1")))
