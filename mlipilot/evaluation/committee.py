"""How well the spread of a committee, one model trained with several seeds, tells the error of its mean.

Where the truth were one more member, drawn like the others, (F − m) / (s √(1 + 1/k)) would follow Student's
distribution of k − 1 degrees of freedom: m the mean of k members and s their standard deviation, of one
force component. From this, with σ = s √(1 + 1/k):

- *Spearman's ρ* of σ and |F − m| over atoms (root mean squares of their components): whether the atoms that
  the members disagree about are those that are wrong. 1 is best, 0 says nothing.
- *ENCE*, the expected normalised calibration error (Levi et al., Sensors 22, 5540 (2022)): the mean over bins
  of equal size, sorted by σ, of |rms σ − rms error| / rms σ. 0 is best.
- *miscalibration area* (Tran et al., Mach. Learn.: Sci. Technol. 1, 025006 (2020)): the area between the
  share of components within each central interval and the share that should be. 0 is best, 0.5 the worst.

A committee of seeds sees what depends on the start and on the order of the data, not what the model cannot
say or what all its members were taught alike: mostly σ is too small, and all three figures say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlipilot.evaluation.lazily import Array, np

_BINS = 10
_SHARES = 99  # central intervals of 1 % to 99 %


class Calibration(NamedTuple):
    """What members' forces say beside the truth; errors are of the members' mean."""

    force_mae_mev_per_a: float
    force_rmse_mev_per_a: float
    force_spread_mev_per_a: float
    """Root mean square of σ."""
    spearman: float | None
    """None where nothing varies."""
    ence: float | None
    """None where some tenth of the atoms has no spread."""
    miscalibration_area: float


class Residuals(NamedTuple):
    """A committee beside the truth, in eV/Å by atom and component, (atoms, 3)."""

    errors: Array
    """True force less the members' mean."""
    sigmas: Array
    """The spread σ that such an error should have."""
    degrees: int
    """Of freedom of Student's distribution: the members less one."""

    @property
    def of_atoms(self) -> tuple[Array, Array]:
        """σ and error of each atom, root mean squares of its components, each (atoms,) in eV/Å."""
        sigmas, errors = (np.sqrt((each**2).mean(axis=1)) for each in (self.sigmas, self.errors))
        return sigmas, errors


def residuals(members: Sequence[Array], truth: Array) -> Residuals:
    """Of k ≥ 2 members' forces and the true ones, each (atoms, 3) in eV/Å.

    Raises ValueError for fewer members, other shapes, no atom, or a force that is not finite.
    """
    forces = np.array(members)  # (k, atoms, 3)
    if len(forces) < 2 or not truth.size or forces.shape[1:] != truth.shape or truth.shape[1:] != (3,):
        raise ValueError(f"no committee: forces of shape {forces.shape} beside {truth.shape}")
    if not (np.isfinite(forces).all() and np.isfinite(truth).all()):
        raise ValueError("a force is not a finite number")
    errors = truth - forces.mean(axis=0)
    sigmas = forces.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(forces))
    return Residuals(errors, sigmas, len(forces) - 1)


def calibration(members: Sequence[Array], truth: Array) -> Calibration:
    """All figures of a committee; members and truth as in `residuals`, which raises ValueError."""
    found = residuals(members, truth)
    return Calibration(
        force_mae_mev_per_a=1000 * float(abs(found.errors).mean()),
        force_rmse_mev_per_a=1000 * _rms(found.errors),
        force_spread_mev_per_a=1000 * _rms(found.sigmas),
        spearman=_spearman(*found.of_atoms),
        ence=_ence(found),
        miscalibration_area=_miscalibration_area(found),
    )


def reliability(found: Residuals) -> tuple[Array, Array]:
    """Levels of central intervals, 1 % to 99 %, and the share of components within each, both (99,).

    The two are equal where errors are distributed as σ says; a lower share is too sure.
    """
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        # no spread beside an error: infinite
        ratios = np.where(found.errors == 0, 0.0, abs(found.errors) / found.sigmas)
    within = 2 * stdtr(found.degrees, ratios) - 1  # the smallest central interval that holds it, as a share
    levels = np.linspace(0, 1, _SHARES + 2)[1:-1]
    return levels, np.array([(within <= level).mean() for level in levels])


def spread_bins(found: Residuals) -> tuple[Array, Array]:
    """rms σ and rms error of ten bins of equally many atoms by rising σ, in eV/Å; fewer bins of few atoms."""
    sigmas, errors = found.of_atoms
    order = sigmas.argsort(kind="stable")
    bins = [each for each in np.array_split(order, _BINS) if len(each)]
    return np.array([_rms(sigmas[each]) for each in bins]), np.array([_rms(errors[each]) for each in bins])


def _rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def _spearman(sigmas: Array, errors: Array) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(sigmas) == 0 or np.ptp(errors) == 0:
        return None
    return float(spearmanr(sigmas, errors).statistic)


def _ence(found: Residuals) -> float | None:
    sigmas, errors = spread_bins(found)
    return None if (sigmas == 0).any() else float((abs(sigmas - errors) / sigmas).mean())


def _miscalibration_area(found: Residuals) -> float:
    levels, shares = reliability(found)
    return float(abs(shares - levels).mean())
