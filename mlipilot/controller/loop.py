"""The loop of one lineage: read the ledger, do what is due, write the outcome; `carrying.py` calls it."""

from __future__ import annotations

from contextlib import ExitStack

from mlipilot.audit.events import Event, running
from mlipilot.audit.events.concluding import Confirmed
from mlipilot.audit.files import sha256_file, write_json
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.leftovers import drop_staged_claims
from mlipilot.audit.lock import Hold
from mlipilot.audit.manifest import drop_unsealable, write_manifest
from mlipilot.audit.protected import differences, hash_protected, read_protected
from mlipilot.campaign.spec import load_locked
from mlipilot.confidential import hidden
from mlipilot.controller import next_steps, steps
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.candidates import drop_unrecorded
from mlipilot.controller.colleagues import Colleagues
from mlipilot.controller.conclusions import conclude
from mlipilot.controller.confirming import in_a_line
from mlipilot.controller.hand_back import HandBack
from mlipilot.controller.isolation_words import of_local_jobs
from mlipilot.controller.job_records import note_jobs
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.observer import Observer
from mlipilot.controller.outlook import weigh
from mlipilot.controller.planting import Planting
from mlipilot.controller.prepare import check_image, prepare_data, starting
from mlipilot.controller.proposals import Proposals
from mlipilot.controller.recording import open_recording
from mlipilot.controller.serving import end_if_last
from mlipilot.controller.spending import elapsed_s
from mlipilot.controller.state import State, replay
from mlipilot.controller.transcript import Transcript
from mlipilot.controller.variants import make_variant
from mlipilot.controller.verdict import Measurements, compute_verdict
from mlipilot.errors import MlipilotError, PausedError
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.jobs.endpoint_job import EndpointJob
from mlipilot.jobs.kept_checkpoints import drop_lost_work
from mlipilot.jobs.slurm_job import this_job
from mlipilot.paths import JobKey, LineagePaths, RunPaths
from mlipilot.pilots.addresses import check_addresses
from mlipilot.untrusted import few


class CancelledError(MlipilotError):
    """`mlipilot cancel` asked for the end."""

    def __init__(self, message: str, goes_on: str = "") -> None:
        """`goes_on`: which jobs may go on all the same, and who can end them, in words."""
        super().__init__(f"{message}\n{goes_on}" if goes_on else message)
        self.goes_on = goes_on


class Controller:
    """One lineage, driven step by step. Holds nothing that the ledger does not."""

    def __init__(
        self,
        run: RunPaths,
        lineage: LineagePaths,
        observer: Observer,
        resources: ExitStack,
        hold: Hold,
        job: EndpointJob | None = None,
    ) -> None:
        """`job`: what serves the pilot's model, where the run has it served."""
        self.run, self.lineage, self.observer, self.job = run, lineage, observer, job
        if hold.after is not None:
            observer.event(f"taking over from {hold.after}")
        self.spec = load_locked(run.spec).for_lineage(lineage.number)
        self.ledger = Ledger(lineage.ledger, hold.check)
        self.attempts = Attempts(run, lineage, self.spec)
        self.planting = Planting(self.attempts)
        self.hand_back = HandBack(run, lineage.number)
        self.resources = resources
        mine = this_job()
        cluster = mine.cluster if mine else None
        self.session = running.Resumed(epoch=hold.epoch, cluster=cluster, run=str(run.root))

    def work(self, number: int, *, unattended: bool = False) -> State:
        """Take steps until the lineage is over; one that is over is left as it is.

        Raises PausedError and CancelledError.
        """
        if (state := self.state()).finished is not None:
            return state
        if state.cancelled:
            self.lineage.cancel.unlink(missing_ok=True)  # heeded, and left by a kill just after
            if unattended:
                raise CancelledError(
                    f"lineage {number} was cancelled; {self.run.resuming(self.lineage.number)} would go on"
                )
        check_image(self.run)
        is_over = next_steps.is_search_over(state, self.spec)
        if self.job is None and not is_over:
            check_addresses(self.spec.pilot, self.run.endpoint)
        recording = open_recording(self.spec.pilot, number)
        prepare_data(self.run, self.spec, self.observer)
        card = load_scorecard(self.run.scorecard)
        self.measurements = Measurements(self.lineage, self.spec, card)
        briefing = Briefing(self.run, self.lineage, self.spec, card, self.measurements)
        transcript = Transcript(self.lineage, self.ledger, self.spec.pilot)
        shared = (self.run, self.lineage, self.spec, self.ledger, briefing, transcript)
        self.colleagues = Colleagues(*shared, recording)
        self.proposals = Proposals(*shared, self.resources, recording)
        self._check_protected()
        transcript.recover()  # before this session is on record: what is found belongs to the one before
        if self.state().started is None:  # a pause while preparing may be on record already
            self.ledger.append(starting(self.run, self.spec, number, self.session))
            self.observer.event(
                f"campaign {self.spec.name} begins: profile {self.spec.profile}, "
                f"pilot {self.spec.pilot.label}, {self.spec.budget.iterations} iterations, "
                f"seeds {', '.join(map(str, self.spec.seeds))}"
            )
            if self.spec.jobs.backend == "local":
                self.observer.event(of_local_jobs(self.spec.jobs))
        else:
            self.ledger.append(self.session.model_copy(update={"unattended": True} if unattended else {}))
            self.observer.event(f"resumed at iteration {max(len(state.iterations) - 1, 0)}")
        # The model is loaded while the baseline is trained. Who takes over a wait for jobs needs none yet.
        if self.job is not None and not (is_over or self.lineage.cancel.exists() or self.state().in_flight()):
            self.job.ensure_requested(self.ledger.head)
        self.colleagues.share_lessons()
        self._point_at_incumbent(self.state().incumbent)  # a kill may have come between record and link
        while (state := self.state()).finished is None:
            self.ledger.fence()
            self.cancel_if_asked()
            self._take(next_steps.next_step(state, self.spec, elapsed_s(state)), state)
        return state

    def state(self) -> State:
        """The ledger, replayed."""
        return replay(self.ledger.records)

    def note_pause(self, paused: PausedError) -> None:
        """Write the pause into the ledger, if the ledger can still be written.

        Whether it mends by itself is for `sbatch/successor.sh`, which reads the record's line.
        """
        self.observer.event(f"paused: {paused}")
        pause = running.Paused(reason=hidden(str(paused)), mends_by_itself=paused.mends_by_itself)
        try:
            self.ledger.append(pause)
        except OSError as error:
            self.observer.event(f"the pause could not be written to the ledger: {error}")

    def _take(self, step: steps.Step, state: State) -> None:
        if self.job is not None and isinstance(step, steps.AskPilot | steps.AskReviewer | steps.DrawLesson):
            if not self.job.is_requested:
                self.job.ensure_requested(self.ledger.head)
            self.job.wait(self.lineage.cancel.exists)
            self.cancel_if_asked()
        match step:
            case steps.ProposeBaseline():
                self.proposals.propose_baseline()
                self.observer.event("iteration 0: the baseline")
            case steps.AskPilot(iteration):
                self._check_protected()
                self.observer.event(f"iteration {iteration}: asking the pilot")
                self._tell(iteration, self.proposals.ask(iteration, state))
            case steps.AskReviewer(iteration, revision):
                self._tell(iteration, self.colleagues.review(iteration, revision, state))
            case steps.AcceptDraft(iteration, revision):
                self._tell(iteration, self.proposals.accept(iteration, revision))
            case steps.DropDraft(iteration, reason):
                self._tell(iteration, self.proposals.drop(iteration, reason))
            case steps.SubmitJob(key, attempt):
                self._check_protected()
                if key.fresh or key.kind == "sealed":  # whoever serves the pilot's model may go
                    end_if_last(self.job, self.run, self.lineage.number)
                make_variant(self.run, self.lineage, self.spec, state, key)
                # The intent alone: what is in flight is started, all together, before it is waited for.
                note_jobs(self.ledger, self.observer, self.planting.submit(state, key, attempt))
            case steps.AwaitJobs():
                self._await_jobs(state)
            case steps.Weigh(iteration):
                self.ledger.append(weigh(state, iteration, self.measurements))
            case steps.Judge(iteration):
                self._judge(iteration, state)
            case steps.DrawLesson(iteration):
                self._tell(iteration, self.colleagues.draw_lesson(iteration, state))
            case steps.Confirm() | steps.CompareSealed() | steps.Examine() | steps.Ablate():
                self._note_conclusion(conclude(step, state, self.attempts, self.measurements))
            case steps.Pause(reason):
                raise PausedError(reason)
            case steps.Finish(reason):
                self.ledger.fence()
                drop_unrecorded(self.lineage, state)
                self.ledger.append(running.Finished(reason=reason, incumbent=state.incumbent))
                self.observer.event(f"finished: {reason}")

    def _tell(self, iteration: int, what: str) -> None:
        self.observer.event(f"iteration {iteration}: {what}")

    def _check_protected(self) -> None:
        changed = differences(read_protected(self.run.protected), hash_protected(self.run.root))
        if changed:
            raise PausedError(
                f"protected files are not as they were when the run began: {few(changed)}; "
                "restore them and resume, or begin a new run: the toolkit that began a run resumes it"
            )

    def _await_jobs(self, state: State) -> None:
        """Return after at least one attempt in flight has ended (or a cancel request came)."""
        self.hand_back.wait_begins()
        attempts = [self.lineage.attempt(key, attempt.number) for key, attempt in state.in_flight()]
        while not self.lineage.cancel.exists():
            self.ledger.fence()  # nothing may be written for hours
            in_flight = state.in_flight()
            if void := self.planting.not_to_begin(state):
                note_jobs(self.ledger, self.observer, void)
                return
            over = False
            self.attempts.ensure_started(state, [(key, a.number) for key, a in in_flight], self.ledger.head)
            for key, attempt in in_flight:
                ended = self.attempts.collect(state, key, attempt.number)
                if ended is not None:
                    note_jobs(self.ledger, self.observer, [ended])
                    over = True
            if over:
                return
            self.hand_back.consider(lambda: map(self.attempts.backend.standing, attempts))
            if self.observer.is_live:
                self.observer.jobs(self.attempts.running(state))
            self.attempts.backend.wait(self.lineage.cancel.exists)

    def _judge(self, number: int, state: State) -> None:
        """Write `verdict.json`, seal the iteration, then record the verdict; but first look for plants."""
        if void := self.planting.of_judged(state, number):
            note_jobs(self.ledger, self.observer, void)
            return
        keys = [JobKey(number, seed, "evaluate") for seed in self.spec.seeds]
        self.attempts.withdraw_unrecorded(state, keys)
        directory = self.lineage.iteration(number)
        body = compute_verdict(state, state.iterations[number], self.measurements)
        write_json(self.lineage.verdict(number), body)
        drop_staged_claims(directory)
        drop_lost_work(directory)
        drop_unsealable(directory)
        manifest = write_manifest(directory)
        kept = ("verdict", "reason", "violation", "log_objective", "gain", "threshold", "measure", "effects")
        verdict = running.Verdict(
            **{key: body[key] for key in ("iteration", "incumbent", *kept)},
            manifest_sha256=manifest,
            verdict_sha256=sha256_file(self.lineage.verdict(number)),
        )
        self.ledger.append(verdict)
        self._point_at_incumbent(verdict.incumbent)
        self.observer.event(f"iteration {number} {verdict.verdict}: {verdict.reason}")

    def _note_conclusion(self, event: Event) -> None:
        self.ledger.append(event)
        if isinstance(event, Confirmed):
            self._point_at_incumbent(event.incumbent)
            self.observer.event(in_a_line(event))

    def _point_at_incumbent(self, number: int | None) -> None:
        if number is None:
            return
        fresh = self.lineage.root / ".incumbent"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.lineage.iteration(number).relative_to(self.lineage.root))
        fresh.replace(self.lineage.incumbent)

    def cancel_if_asked(self) -> None:
        """End every job in flight if `mlipilot cancel` asked for it. Raises CancelledError.

        A lineage that is over stays so.
        """
        if self.state().finished is not None:
            self.lineage.cancel.unlink(missing_ok=True)
        if not self.lineage.cancel.exists():
            return
        in_flight = (state := self.state()).in_flight()
        directories = [self.lineage.attempt(key, attempt.number) for key, attempt in in_flight]
        goes_on = self.attempts.backend.cancel(*directories, tell=self.observer.event)
        for key, attempt in in_flight:
            try:
                ended = self.attempts.collect(state, key, attempt.number)
            except PausedError:  # nobody is there who could say
                if not goes_on:
                    raise
                continue
            if ended is not None:
                self.ledger.append(ended)
        self.ledger.append(running.Cancelled())
        self.lineage.cancel.unlink()
        resuming = self.run.resuming(self.lineage.number)
        raise CancelledError(f"cancelled on request; {resuming} would go on", goes_on)
