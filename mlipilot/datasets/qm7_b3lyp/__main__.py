"""One labelling process of `label_shards.label_all`."""

from __future__ import annotations

import sys

from mlipilot.datasets.qm7_b3lyp.label_shards import main

sys.exit(main(sys.argv[1:]))
