"""Fitting the law and its deviations to rows: most probable parameters, learned amplitudes, outliers weighed down.

The law is linearized where it fits best, so what is left is a Gaussian process whose covariance holds the law's own
uncertainty too (Laplace). Amplitudes and the noise of a run follow from the evidence under wide priors. A row that the
others do not expect gets more noise (Student's t with 4 degrees of freedom, by its leave-one-out error).
"""

from dataclasses import dataclass, replace

import numpy as np

from shared.quality.deviations import Apart, Located, Place, compare_places, own_variance
from shared.quality.law import PRIOR_MEAN, PRIOR_SD, Points, law, slopes

# Everywhere, in a dataset, on a machine, of one run: medians of their priors, in bits per byte, and how sure.
AMPLITUDE_MEDIANS = np.array([0.03, 0.10, 0.010, 0.005])
AMPLITUDE_LOG_SD = np.array([0.6, 0.5, 1.0, 0.8])
RANGE = (-4.0, 4.0)
"""of the logarithm of an amplitude over its median"""
SMALLEST_NOISE = 1e-4
DEGREES_OF_FREEDOM = 4
ROUNDS, NEWTON_STEPS = 4, 4


@dataclass(frozen=True)
class Measured:
    """Rows as arrays [n]."""

    points: Points
    place: Place
    val_bpb: np.ndarray
    sigma: np.ndarray
    """nan where it is not known"""
    apart: dict[int, Apart]


@dataclass(frozen=True)
class Fit:
    """Everything a prediction needs."""

    measured: Measured
    parameters: np.ndarray
    amplitudes: np.ndarray
    """everywhere, in a dataset, on a machine"""
    noise: float
    """standard deviation of a run whose row names none"""
    weights: np.ndarray
    """1 for a row that the others expect, towards 0 for an outlier"""

    def located(self, points: Points, place: Place) -> Located:
        return Located(points, place, law(self.parameters, points), slopes(self.parameters, points) * PRIOR_SD)

    @property
    def rows(self) -> Located:
        return self.located(self.measured.points, self.measured.place)

    def prior_mean(self, located: Located) -> np.ndarray:
        """Of the linearized law before any row, [n]."""
        return located.law + located.slopes @ ((PRIOR_MEAN - self.parameters) / PRIOR_SD)

    def covariance(self, first: Located, second: Located) -> np.ndarray:
        """Before any row, [n, m]: of the law's parameters and of the deviations, without noise."""
        alike = compare_places(first, second, self.measured.apart)
        return first.slopes @ second.slopes.T + alike.covariance(self.amplitudes)

    def variance(self, located: Located) -> np.ndarray:
        """The diagonal of `covariance(located, located)`."""
        return (located.slopes**2).sum(-1) + own_variance(located, self.amplitudes, self.measured.apart)

    def noise_variance(self) -> np.ndarray:
        return _noise_variance(self.measured, self.noise, self.weights)


def fit(measured: Measured) -> Fit:
    """No rows are allowed: then everything is as before them."""
    median = AMPLITUDE_MEDIANS
    state = Fit(measured, PRIOR_MEAN, median[:3], float(median[3]), np.ones(len(measured.val_bpb)))
    for _ in range(ROUNDS if len(measured.val_bpb) else 0):
        state = replace(state, parameters=_most_probable(state))
        amplitudes = _likely_amplitudes(state)
        state = replace(state, amplitudes=amplitudes[:3], noise=float(amplitudes[3]))
        state = replace(state, weights=_weights(state))
    return state


def _most_probable(state: Fit) -> np.ndarray:
    """The law's parameters with the deviations integrated out: damped Gauss-Newton."""
    measured = state.measured
    parameters = state.parameters
    alike = compare_places(state.rows, state.rows, measured.apart)
    whiten = np.linalg.inv(np.linalg.cholesky(alike.covariance(state.amplitudes) + np.diag(state.noise_variance())))

    def residuals(values: np.ndarray) -> np.ndarray:
        return np.concatenate((whiten @ (law(values, measured.points) - measured.val_bpb), _from_prior(values)))

    errors = residuals(parameters)
    for _ in range(NEWTON_STEPS):
        gradient = np.concatenate((whiten @ slopes(parameters, measured.points) * PRIOR_SD, np.eye(len(PRIOR_SD))))
        direction = -np.linalg.lstsq(gradient, errors, rcond=None)[0] * PRIOR_SD
        for step in (1.0, 0.5, 0.25, 0.1):
            tried = parameters + step * direction
            found = residuals(tried)
            if found @ found < errors @ errors:
                parameters, errors = tried, found
                break
    return parameters


def _from_prior(parameters: np.ndarray) -> np.ndarray:
    return (parameters - PRIOR_MEAN) / PRIOR_SD


def _noise_variance(measured: Measured, noise: float, weights: np.ndarray) -> np.ndarray:
    sigma = np.where(np.isnan(measured.sigma), noise, measured.sigma)
    return (sigma**2 + SMALLEST_NOISE**2) / weights


def _likely_amplitudes(state: Fit) -> np.ndarray:
    """The three amplitudes and the noise that maximize evidence times prior.

    The amplitudes are then raised by how uncertain they are: exp of the variance of their logarithm, which is
    nothing once there are many rows. A handful of rows that happen to agree does not prove that others would.
    """
    from scipy.optimize import minimize

    evidence = _Evidence(state)
    start = np.log([*state.amplitudes, state.noise]) - np.log(AMPLITUDE_MEDIANS)
    found = minimize(evidence, np.clip(start, *RANGE), jac=True, method="L-BFGS-B", bounds=[RANGE] * len(start)).x
    raised = np.array([1, 1, 1, 0]) / np.maximum(evidence.curvatures(found), 1 / AMPLITUDE_LOG_SD**2)
    return np.exp(found + raised) * AMPLITUDE_MEDIANS


class _Evidence:
    """Minus the log evidence and its gradient, by the logarithms of the amplitudes over their medians."""

    def __init__(self, state: Fit):
        rows, measured = state.rows, state.measured
        alike = compare_places(rows, rows, measured.apart)
        self.fixed = alike.fixed + rows.slopes @ rows.slopes.T
        self.terms = alike.terms()
        self.error = measured.val_bpb - state.prior_mean(rows)
        self.unknown = np.isnan(measured.sigma) / state.weights
        self.known = _noise_variance(measured, 0.0, state.weights)

    def __call__(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        variances = np.exp(2 * logs) * AMPLITUDE_MEDIANS**2
        parts = [
            *(variance * term for variance, term in zip(variances, self.terms, strict=False)),
            np.diag(variances[3] * self.unknown),
        ]
        root = np.linalg.cholesky(self.fixed + sum(parts) + np.diag(self.known))
        inverse_root = np.linalg.inv(root)
        inverse = inverse_root.T @ inverse_root
        weighed = inverse @ self.error
        cost = 0.5 * self.error @ weighed + np.log(np.diag(root)).sum() + 0.5 * ((logs / AMPLITUDE_LOG_SD) ** 2).sum()
        gradient = np.array([(inverse * part).sum() - weighed @ part @ weighed for part in parts])
        return float(cost), gradient + logs / AMPLITUDE_LOG_SD**2

    def curvatures(self, logs: np.ndarray, step: float = 0.05) -> np.ndarray:
        """Second derivative by each logarithm alone."""
        moves = step * np.eye(len(logs))
        return np.array([(self(logs + move)[1] - self(logs - move)[1]) @ move for move in moves]) / (2 * step**2)


def _weights(state: Fit) -> np.ndarray:
    """By how unexpected each row is to the others, with the noise it had before it was weighed down."""
    rows = state.rows
    whole = state.covariance(rows, rows)
    inverse = np.linalg.inv(whole + np.diag(state.noise_variance()))
    left_out_variance = 1 / np.diag(inverse)
    left_out_error = (inverse @ (state.measured.val_bpb - state.prior_mean(rows))) * left_out_variance
    plain = _noise_variance(state.measured, state.noise, np.ones_like(state.weights))
    surprise = left_out_error**2 / (left_out_variance - state.noise_variance() + plain)
    return np.minimum((DEGREES_OF_FREEDOM + 1) / (DEGREES_OF_FREEDOM + surprise), 1.0)
