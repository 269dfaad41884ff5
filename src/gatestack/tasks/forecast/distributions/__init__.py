"""What a forecaster says of each step ahead: a distribution, one file each; the mathematics of all, here.

The head gives raw numbers g_0, g_1, … for each step ahead, zeros before training, beside the forecast a of
the linear autoregression and its mean absolute error s, both in units of `scale` around `level`
(`gatestack.tasks.forecast.head`, `scaling`). With m = level + scale a, d = scale s, softplus_c(g) =
softplus(g + ln(exp(c) - 1)), which is c at 0, and quantile levels τ_1 < … < τ_Q:

`"quantiles"`: Q numbers that cannot cross, and the pinball loss (Koenker & Bassett 1978)

    q_τ = m + d g_0                      at τ = ½
    q_τ = q_½ ± d Σ softplus_0.6(g_j)    the others, outwards, one gap after the other
    loss = mean over τ of max(τ (y - q_τ), (τ - 1)(y - q_τ))

`"normal"`: mean and deviation, and the negative log likelihood

    μ = m + d g_0        σ = d √(π/2) positive(g_1)        positive(g) = 10⁻³ + softplus_0.999(g)
    loss = z²/2 + ln σ + ½ ln 2π        z = (y - μ) / σ

with √(π/2), since the mean absolute deviation of a normal distribution is σ √(2/π). Beyond |z| = 10 the
first term is 50 + 100 ln(|z| / 10), so that a few wild values do not decide alone.

`"student-t"`: location, width and degrees of freedom ν, from 2.1, so that the variance is finite, to 50

    μ = m + d g_0        ν = 2.1 (50 / 2.1)^sigmoid(g_2)        σ = d / E|t_ν0| positive(g_1)
    loss = ln Γ(ν/2) - ln Γ((ν+1)/2) + ½ ln πν + ln σ + (ν+1)/2 ln(1 + z²/ν)
    E|t_ν| = √(ν/π) Γ((ν-1)/2) / Γ(ν/2)        ν0 = √(2.1 · 50)

`"negative-binomial"`: mean and shape of counts 0, 1, 2, … (Salinas et al. 2020, "DeepAR": mean μ, variance
μ + α μ²). As there, the unit of a series is 1 + its mean, here the mean of all values so far, `long_level`;
the mean starts at the autoregression where that is above a hundredth of the unit:

    u = 1 + long_level        μ0 = max(m, u / 100)        σ0² = π/2 d²
    μ = μ0 exp(c g_0)         c = min(1, √(σ0² + μ0) / μ0)
    α = α0 exp(g_1)           α0 = max(σ0² - μ0, μ0 / 10) / μ0²
    loss = ln Γ(1/α) + ln Γ(y+1) - ln Γ(y + 1/α) + (1/α) ln(1 + αμ) + y ln(1 + 1/(αμ))

The exponents are held inside ±10 by 10 tanh(g / 10).

`"spline"`: a piecewise linear quantile function with K = 10 pieces of slopes β and widths δ that are learned
(Gasthaus et al. 2019, "Probabilistic forecasting with spline quantile function RNNs"), started near the
normal one

    s(τ) = γ + Σ_k β_k min(max(τ - d_k, 0), δ_k)        d_k = δ_1 + … + δ_{k-1}, the start of piece k
    β_k = d √(π/2) β0_k softplus_1(g_k)        δ = softmax(ln δ0 + g_{K+1} … g_{2K})
    γ such that s(½) = m + d g_0

and its continuous ranked probability score in closed form: with b_1 = β_1, b_k = β_k - β_{k-1} and F the
level at which s is y, held inside [0, 1],

    loss = (2F - 1)(y - γ) + Σ_k b_k ((1 - d_k³)/3 - d_k - max(F, d_k)² + 2 max(F, d_k) d_k)

All start at the autoregression with its own error as their width. Losses are in the unit 1/w, the typical
deviation of the series (`gatestack.tasks.forecast.sampler.typical_weights`): a pinball loss and a CRPS are
multiplied by w, and ln σ is ln(w σ + 10⁻⁶), so that series of different scales weigh alike and a constant one
stays finite. The likelihood of counts has no unit.
"""

from __future__ import annotations

from typing import get_args

from gatestack.errors import check_choice
from gatestack.tasks.forecast.distributions.base import Distribution, Start
from gatestack.tasks.forecast.distributions.negative_binomial import NegativeBinomial
from gatestack.tasks.forecast.distributions.normal import Normal
from gatestack.tasks.forecast.distributions.quantiles import Quantiles
from gatestack.tasks.forecast.distributions.spline import Spline
from gatestack.tasks.forecast.distributions.student_t import StudentT
from gatestack.tasks.forecast.options import DistributionName

__all__ = ["Distribution", "Start", "make_distribution"]

_KINDS: dict[str, type[Distribution]] = {
    kind.name: kind for kind in (Quantiles, Normal, StudentT, NegativeBinomial, Spline)
}


def make_distribution(name: DistributionName, levels: tuple[float, ...]) -> Distribution:
    """Make the distribution that an `Architecture` names.

    Args:
        name: as in `Architecture`.
        levels: of the quantiles that forecasts give, ascending, symmetric around 0.5.

    Example:
        >>> make_distribution("normal", (0.1, 0.5, 0.9)).outputs
        2
    """
    check_choice("distribution", name, get_args(DistributionName), owner="Architecture")
    return _KINDS[name](levels)
