"""``python -m backend`` is ``pbrfit``."""

import sys

from .cli import main

sys.exit(main())
