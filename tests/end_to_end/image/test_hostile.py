"""What holds out against every signal, in a real image on a real Slurm, is ended by `cancel`."""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.ledger import read_ledger
from tests.end_to_end.cluster import Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, SMALL, MakeSite
from tests.end_to_end.slurm_runs import state_of

pytestmark = MARKS

# It and its children hold out against every signal that can be ignored.
HORDE = """
import os, signal, time
for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
for _ in range(200):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
else:
    print("two hundred", flush=True)
while True:
    time.sleep(60)
"""


def _write_recipe(site: Site, train: str) -> None:
    recipe = site.root / "campaigns" / "recipe"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text("{}\n")
    (recipe / "train.py").write_text(train)


def test_cancel_ends_what_does_not_want_to_end(make_site: MakeSite, login: Path) -> None:
    site = make_site(recipe="recipe", budget={"iterations": 0, "optimizer_steps": 8}, jobs=SMALL)
    _write_recipe(site, HORDE)
    site.sbatch()
    log = site.run.root / "lineage-0/iterations/0000/seed-1/train/attempt-1/stdout.log"
    site.wait_until(lambda: log.exists() and "two hundred" in log.read_text())
    assert len(site.queue()) == 4, site.queue()  # controller, successor, training, evaluation
    mlipilot("cancel", site.run.root, cwd=login)
    site.wait_for_the_end(seconds=60)
    kinds = [record.event.kind for record in read_ledger(site.run.lineage().ledger)]
    assert kinds[-2:] == ["job_finished", "cancelled"] and "resumed" not in kinds
    assert [a.outcome for found in state_of(site.run).jobs.values() for a in found] == ["cancelled"]
    assert len(site.logs()) == 1, "the successor has begun"
    assert site.left_running() == []
