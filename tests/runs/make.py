"""Makes the runs of `tests/runs/format-N/`: real campaigns, as small as they can be, by the code of the day.

    python -m tests.runs.make tests/runs/format-1

A format that was released is never made again: its runs prove that later versions read what that code wrote.
So whoever raises `RUN_FORMAT` makes the runs of the new one in a folder beside the others, once, before the
release. MACE is really trained and evaluated; a loopback server plays the language model, the stand-in
of `tests/sbatch` Slurm's commands (`model.py`, `nodes.py`).

It all happens in namespaces of its own, where the host is `node1` and everything lies below `/srv`: paths and
names of the machine are in job orders and logs, which manifests seal. A run becomes one archive, since git
keeps neither empty directories nor modes, and linters would read the recipes in it. Beside it
`NAME.json` says how it ended.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.settled import SettledRequests
from mlipilot.campaign.extent import Confirmation
from mlipilot.campaign.spec import dump_yaml, load_campaign
from mlipilot.controller.asking_ablation import ask_ablation
from mlipilot.controller.asking_confirmation import ask_confirmation
from mlipilot.controller.carrying import run_lineage
from mlipilot.controller.dropping import drop_candidate
from mlipilot.controller.loop import CancelledError
from mlipilot.controller.observer import JobProgress, Observer
from mlipilot.controller.prepare import create_run
from mlipilot.controller.state import replay
from mlipilot.errors import MlipilotError, PausedError
from mlipilot.jobs.slurm_backend import is_over
from mlipilot.jobs.spool import Spool
from mlipilot.paths import JobKey, RunPaths
from mlipilot.yaml_io import load_yaml
from tests.end_to_end.conftest import REPOSITORY, write_campaign
from tests.end_to_end.slurm_runs import Submitter
from tests.endpoint.faulty_server import Behaviour, FaultyServer, error, message
from tests.runs.model import ADDRESS, APPROVE, MODEL, PROBE, SEND_BACK, calls, edits, submits, touching
from tests.runs.nodes import Nodes
from tests.waiting import wait_for_text, wait_until

_INSIDE = "IN_A_NEUTRAL_PLACE"
_TINY = {
    "recipe_values": {
        "model.hidden_irreps": "2x0e",
        "model.MLP_irreps": "2x0e",
        "model.correlation": 1,
        "model.num_bessel": 2,
        "model.radial_MLP": [2],
        "optimiser.learning_rate": 1.0e-6,  # next to nothing, so that there is something to gain
        "reporting.validations": 1,
    },
    "dataset": {
        "name": "cu_emt",
        "options": {"train": 6, "valid": 4, "test": 4, "test_large": 2, "sealed": 4},
    },
}
# What scatters so much between seeds of a model this small that no gain would count.
_LEFT_OUT = ("stress", "lattice", "bulk", "elastic", "vacancy", "compressed", "drift", "rdf")


class Told:
    """Shows whoever makes the runs how they get on."""

    is_live = False

    def event(self, text: str) -> None:
        print(text, flush=True)

    def data_progress(self, done: int, total: int, what: str) -> None:
        pass

    def jobs(self, running: Sequence[JobProgress]) -> None:
        pass


def prepared(name: str, **changes: Any) -> RunPaths:
    """A run of that name, created and not begun."""
    place = Path("/srv/campaigns")
    place.mkdir(exist_ok=True)
    campaign = write_campaign(place, name=name, **(_TINY | changes))
    card = load_yaml(place / "scorecard.yaml")
    card["gates"] = [gate for gate in card["gates"] if not any(map(gate["metric"].count, _LEFT_OUT))]
    (place / "scorecard.yaml").write_text(dump_yaml(card))
    run = RunPaths(place / name)
    create_run(load_campaign(campaign), run)
    return run


def session(
    run: RunPaths,
    number: int,
    *answers: Behaviour,
    end: type[BaseException] | None = None,
    observer: Observer | None = None,
) -> None:
    """Carry a lineage with a model that answers so, until the controller ends as `end` says."""
    with FaultyServer() as server:
        server.answers(*answers)
        os.environ[ADDRESS] = server.base_url
        try:
            run_lineage(run, number, observer or Told())
            assert end is None
        except (MlipilotError, KeyboardInterrupt) as raised:
            assert end and isinstance(raised, end)
        assert len(server.behaviours) == 1, f"{len(server.behaviours) - 1} answers were not asked for"


# ---- The runs ----------------------------------------------------------------------------------------------


def local_run() -> RunPaths:
    """Two lineages of a language model, on local processes: one to its end, one that is cancelled midway."""
    pilots = [MODEL | {"name": name} for name in ("first", "second")]
    budget = {"iterations": 4, "optimizer_steps": 150}
    run = prepared("local", pilots=pilots, pilot=pilots[0], budget=budget)
    first, second = run.lineage(0), run.lineage(1)
    draft = edits("learning_rate: 1e-06", "learning_rate: 0.02"), submits("A rate that learns")

    _kill(second.attempt(JobKey(0, 2, "train"), 1), its_command=False)  # is lost, and tried again
    session(run, 1, error(500), end=PausedError)
    with second.ledger.open("ab") as stream:
        stream.write(b'{"body":{"reason":"torn')  # as a kill in the middle of a record leaves it
    session(run, 1, PROBE, *draft, touching(second.cancel, SEND_BACK), end=CancelledError)

    _kill(first.attempt(JobKey(2, 1, "train"), 1), its_command=True)  # failed: the candidate is invalid
    session(
        run,
        0,
        *(PROBE, calls("show_history"), *draft, SEND_BACK),
        *(edits("kind: constant", "kind: two_cycles"), submits("A rate of no known schedule"), APPROVE),
        *(edits("kind: two_cycles", "kind: one_cycle"), submits("A rate that learns, annealed"), APPROVE),
        calls("write_lesson", lesson="A rate that learns is worth more than any other change."),
        *(edits("learning_rate: 0.02", "learning_rate: 0.01"), submits("Half the rate"), APPROVE),
        calls("write_lesson", lesson="Nothing was measured."),
        *(message("I think."), message("I still think."), message("And I think on.")),  # no proposal
        calls("give_up", reason="Nothing else comes to mind."),
    )
    return run


def _kill(attempt: Path, *, its_command: bool) -> None:
    """Have an attempt's worker, or what that runs, killed as soon as it is there."""

    def kill() -> None:
        worker = json.loads(wait_for_text(attempt / "worker.json", 900))["pid"]
        children = Path(f"/proc/{worker}/task/{worker}/children")
        wait_until(lambda: not its_command or children.read_text())
        pid = int(children.read_text().split()[0]) if its_command else worker
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


class Interrupting(Told):
    """Shows how the run gets on until jobs with a word in their names are in hand; then Ctrl-C comes."""

    is_live = True

    def __init__(self, word: str) -> None:
        self.word = word

    def jobs(self, running: Sequence[JobProgress]) -> None:
        if any(self.word in job.name for job in running):
            raise KeyboardInterrupt


def slurm_run() -> RunPaths:
    """One lineage of the scripted pilot by way of a spool, interrupted while its last two jobs are in hand.

    They end without a controller, so that a resumed one collects what spool and attempts say: of the first
    the submitter has folded everything into `settled`, of the second it still has the files.
    """
    jobs = {"backend": "slurm", "max_in_flight": 2, "train_wall_limit_s": 300, "evaluate_wall_limit_s": 300}
    budget = {"iterations": 1, "optimizer_steps": 4}
    run = prepared("slurm", pilot={"kind": "scripted"}, budget=budget, jobs=jobs)
    last = [run.lineage(0).attempt(JobKey(0, seed, "sealed"), 1) for seed in (1, 2)]
    with Nodes(Path("/srv/slurm"), run.root) as nodes:
        os.environ.update(nodes.environment)
        with Submitter(run.root, MLIPILOT_POLL_S="1", MLIPILOT_FOLD_S="6"):
            with suppress(KeyboardInterrupt):
                run_lineage(run, 0, Interrupting("sealed"))
            names = [json.loads((attempt / "slurm.json").read_text())["name"] for attempt in last]
            spool = Spool(run.spool)
            wait_until(lambda: (row := spool.queue().rows.get(names[1])) and is_over(row.state), 120)
    settled = SettledRequests(run.spool)
    assert [settled.get(name) is not None for name in names] == [True, False]
    return run


def asked_run() -> RunPaths:
    """One lineage of which persons wanted more: a candidate dropped, then fresh seeds, then an ablation.

    The first seed of each candidate goes alone, and a second look at the confirmation is planned for.
    """
    budget = {"iterations": 2, "optimizer_steps": 150, "first_seed_alone": True}
    run = prepared("asked", pilot=MODEL, budget=budget)
    lesson = calls("write_lesson", lesson="A rate that learns is worth more than any other change.")
    session(
        run,
        0,
        *(PROBE, edits("learning_rate: 1e-06", "learning_rate: 0.02"), submits("A rate that learns")),
        *(APPROVE, lesson),
        *(edits("learning_rate: 0.02", "learning_rate: 0.01"), submits("Half the rate"), APPROVE),
        end=KeyboardInterrupt,
        observer=Interrupting("0002/seed"),
    )
    drop_candidate(run, 0, 2, "nobody waits for half a rate", print)
    session(run, 0, PROBE, lesson)
    ask_confirmation(run, 0, Confirmation(seeds=3, most_seeds=4, leave_out=0.25))
    run_lineage(run, 0, Told())  # nobody asks the model any more
    ask_ablation(run, 0)
    run_lineage(run, 0, Told())
    return run


# ---- What is kept ------------------------------------------------------------------------------------------


def how_it_ended(run: RunPaths) -> dict[str, Any]:
    """What later versions have to read out of the run, by lineage."""
    found = {}
    for lineage in run.lineages():
        lines = [json.loads(line) for line in lineage.ledger.read_text().splitlines()]
        verdicts = {line["body"]["iteration"]: line["body"] for line in lines if line["kind"] == "verdict"}
        state = replay(read_ledger(lineage.ledger))
        judged = [verdicts.get(number, {}) for number in range(len(state.iterations))]
        found[str(lineage.number)] = {
            "head": lines[-1]["hash"],
            "kinds": dict(sorted(Counter(line["kind"] for line in lines).items())),
            "phase": state.phase,
            "incumbent": state.incumbent,
            "verdicts": [verdict.get("verdict") for verdict in judged],
            "log_objective": [verdict.get("log_objective") for verdict in judged],
        }
    return found


def pack(run: RunPaths, folder: Path) -> None:
    """One archive of the run, the same for the same files, and beside it how the run ended."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{run.root.name}.tar.xz", "x:xz", format=tarfile.GNU_FORMAT) as archive:
        archive.add(run.root, run.root.name, filter=plain)  # in the order of names
    text = json.dumps({"lineages": how_it_ended(run)}, indent=2)
    (folder / f"{run.root.name}.json").write_text(text + "\n")


def in_a_neutral_place(folder: Path, names: Sequence[str]) -> int:
    """Run this module again where the machine's own paths and name are not to be seen; its exit status."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    binds = {str(REPOSITORY): "/srv/mlipilot", sys.base_prefix: "/srv/python"}
    binds |= {path: f"/srv/packages-{number}" for number, path in enumerate(packages)}
    search = ":".join(target for target in binds.values() if target != "/srv/python")
    python = f"/srv/python/bin/python3.{sys.version_info.minor}"
    lines = ["set -e", "hostname node1", "mount -t tmpfs tmpfs /srv"]
    for source, target in binds.items():
        lines.append(f"mkdir {target} && mount --bind {shlex.quote(source)} {target}")
    again = f"{python} -m tests.runs.make {folder.resolve().relative_to(REPOSITORY)} {' '.join(names)}"
    environment = f"{_INSIDE}=1 PATH=/usr/bin:/bin LANG=C.UTF-8 HOME=/srv OMP_NUM_THREADS=1 TZ=UTC"
    lines += ["cd /srv/mlipilot", f"exec env -i {environment} PYTHONPATH={search} {again}"]
    namespaces = ["unshare", "--map-root-user", "--mount", "--uts"]
    return subprocess.run([*namespaces, "bash", "-c", "\n".join(lines)], check=False).returncode


def main(folder: str, *names: str) -> None:
    makers: dict[str, Callable[[], RunPaths]] = {"local": local_run, "slurm": slurm_run, "asked": asked_run}
    if _INSIDE not in os.environ:
        sys.exit(in_a_neutral_place(Path(folder), names or tuple(makers)))
    for name in names:
        pack(makers[name](), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
