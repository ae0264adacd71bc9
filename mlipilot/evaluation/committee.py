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


def calibration(members: Sequence[Array], truth: Array) -> Calibration:
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
    of_atoms = [np.sqrt((each**2).mean(axis=1)) for each in (sigmas, errors)]
    return Calibration(
        force_mae_mev_per_a=1000 * float(abs(errors).mean()),
        force_rmse_mev_per_a=1000 * _rms(errors),
        force_spread_mev_per_a=1000 * _rms(sigmas),
        spearman=_spearman(*of_atoms),
        ence=_ence(*of_atoms),
        miscalibration_area=_miscalibration_area(errors, sigmas, len(forces) - 1),
    )


def _rms(values: Array) -> float:
    return float(np.sqrt((values**2).mean()))


def _spearman(sigmas: Array, errors: Array) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(sigmas) == 0 or np.ptp(errors) == 0:
        return None
    return float(spearmanr(sigmas, errors).statistic)


def _ence(sigmas: Array, errors: Array) -> float | None:
    order = sigmas.argsort(kind="stable")
    bins = [each for each in np.array_split(order, _BINS) if len(each)]
    pairs = [(_rms(sigmas[each]), _rms(errors[each])) for each in bins]
    if any(sigma == 0 for sigma, _ in pairs):
        return None
    return float(np.mean([abs(sigma - error) / sigma for sigma, error in pairs]))


def _miscalibration_area(errors: Array, sigmas: Array, degrees: int) -> float:
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors == 0, 0.0, abs(errors) / sigmas)  # no spread beside an error: infinite
    within = 2 * stdtr(degrees, ratios) - 1  # the smallest central interval that holds it, as a share
    shares = np.linspace(0, 1, _SHARES + 2)[1:-1]
    return float(np.mean([abs((within <= share).mean() - share) for share in shares]))
