"""`python -m stream_guard.cli`: the same as `stream-guard`."""

import sys

from stream_guard.cli import main

sys.exit(main())
