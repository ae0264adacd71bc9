"""One labelling process of `labelling.label_all`."""

from __future__ import annotations

import sys

from mlipilot.datasets.qm7_b3lyp.labelling import main

sys.exit(main(sys.argv[1:]))
