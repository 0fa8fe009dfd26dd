"""``python -m fasttcm`` is the ``fasttcm`` command."""

import sys

from fasttcm.cli.main import main

sys.exit(main())
