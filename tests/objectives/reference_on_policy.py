"""The on-policy objectives and advantages that other papers add to GRPO, in plain loops, from their formulas.

Data sets as in ``objectives.reference``.
"""

import math

import numpy as np

from objectives import reference as ref
from objectives.reference import members, ppo, ratio, scored, sequence, sigmoid, tokens

# ---- advantages --------------------------------------------------------------------------------------


def mean_of(values):
    return sum(values) / len(values)


def deviation(values, correction):
    centre = mean_of(values)
    return math.sqrt(sum((x - centre) ** 2 for x in values) / max(len(values) - correction, 1))


def rewards_of(d, rows):
    return [float(d["rewards"][j]) for j in scored(d, rows)]


def group(d, eps=1e-6, correction=0, scale="prompt"):
    result = []
    for i, own in enumerate(d["rewards"]):
        r = rewards_of(d, members(d, i))
        if math.isnan(own) or min(r) == max(r):
            result.append(0.0)
            continue
        whose = rewards_of(d, range(len(d["rewards"]))) if scale == "step" else r
        result.append((own - mean_of(r)) / (deviation(whose, correction) + eps))
    return np.array(result)


def over_the_step(d, values, eps, correction):
    """Each value over the standard deviation of the scored responses' values."""
    kept = [v for v, r in zip(values, d["rewards"], strict=True) if not math.isnan(r)]
    spread = deviation(kept, correction) if kept else 0.0
    return np.array([v / (spread + eps) if v else 0.0 for v in values])


def reinforce_plus_plus(d, baseline="mean-centred", eps=1e-6, correction=0):
    return over_the_step(d, ref.advantages(d, baseline), eps, correction)


def gdpo(d, weights=None, eps=1e-6, correction=0):
    parts = d.get("components") or {"reward": d["rewards"]}
    total = np.zeros(len(d["rewards"]))
    for name, values in parts.items():
        own = {**d, "rewards": np.where(np.isnan(d["rewards"]), np.nan, values)}
        total += (weights or {}).get(name, 0.0 if weights else 1.0) * group(own, eps, correction)
    return over_the_step(d, total, eps, correction)


def beta_normalised(d, low=0.0, high=1.0):
    u = {**d, "rewards": (d["rewards"] - low) / (high - low)}
    prompts = [rewards_of(u, [j for j in range(len(d["group"])) if d["group"][j] == g]) for g in set(d["group"])]
    means = [mean_of(r) for r in prompts if r]
    alpha = beta = 1.0
    if len(means) > 1 and max(means) - min(means) > 1e-5:
        m, v = mean_of(means), deviation(means, 1) ** 2
        alpha = max(1.0, 1 + (m * (1 - m) / v - 1) * m / 3)
        beta = max(1.0, 1 + (m * (1 - m) / v - 1) * (1 - m) / 3)
    constant = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
    result = []
    for i, own in enumerate(u["rewards"]):
        r = rewards_of(u, members(u, i))
        if math.isnan(own) or min(r) == max(r):
            result.append(0.0)
            continue
        p = mean_of(r)
        surprise = constant - (alpha - 1) * math.log(p) - (beta - 1) * math.log1p(-p)  # -log of the density
        result.append((own - p) * math.exp(min(surprise, math.log(1e6))))
    return np.array(result)


# ---- objectives --------------------------------------------------------------------------------------


def token_mean(d, token):
    return sum(token(i, t) for i in range(len(d["mask"])) for t in tokens(d, i)) / d["mask"].sum()


def bnpo(d, a=None):
    a = beta_normalised(d) if a is None else a
    return token_mean(d, lambda i, t: ppo(ratio(d, i, t), a[i], 0.2, 0.2))


def sapo(d, positive=1.0, negative=1.05):
    a = group(d)

    def row(i):
        tau = positive if a[i] > 0 else negative
        return mean_of([-4 / tau * sigmoid(tau * (ratio(d, i, t) - 1)) * a[i] for t in tokens(d, i)])

    return ref.per_response(d, row)


def gmpo(d, low=0.4, high=0.4):
    """The geometric mean as a product of ratios, raised to 1/|y|."""
    a = group(d)

    def row(i):
        product = 1.0
        for t in tokens(d, i):
            r = ratio(d, i, t)
            product *= min(r, math.exp(high)) if a[i] > 0 else max(r, math.exp(-low))
        return -a[i] * product ** (1 / len(tokens(d, i)))

    return ref.per_response(d, row)


def gpg(d, kind="mean-centred", rescale=True):
    a, count, idle = ref.advantages(d, kind), len(d["rewards"]), 0
    for i in range(count):
        r = rewards_of(d, members(d, i))
        idle += not math.isnan(d["rewards"][i]) and min(r) == max(r)
    alpha = count / (count - idle) if rescale else 1.0
    return token_mean(d, lambda i, t: -alpha * a[i] * d["logps"][i, t])


def divergence_of(region, new, old):
    if region == "tv":
        return abs(new - old)
    return old * math.log(old / new) + (1 - old) * math.log((1 - old) / (1 - new))


def dppo(d, region="tv", low=0.15, high=0.15, truncation=20.0, frozen=None):
    """``frozen``: the data whose ratios and masks are constant; None takes d's own."""
    a, source = group(d), d if frozen is None else frozen

    def token(i, t):
        r = ratio(source, i, t)
        distance = divergence_of(region, math.exp(source["logps"][i, t]), min(math.exp(source["old"][i, t]), 1 - 1e-12))
        outside = (a[i] > 0 and r > 1 and distance > high) or (a[i] < 0 and r < 1 and distance > low)
        return 0.0 if outside else -min(r, truncation) * a[i] * d["logps"][i, t]

    return token_mean(d, token)


def covariances(d, a):
    """{(row, position): covariance} of the tokens of scored responses."""
    places = [(i, t) for i in scored(d, range(len(d["rewards"]))) for t in tokens(d, i)]
    level, height = mean_of([a[i] for i, _ in places]), mean_of([d["logps"][i, t] for i, t in places])
    return {(i, t): (a[i] - level) * (d["logps"][i, t] - height) for i, t in places}


def highest(values, share, count):
    """The places of the largest values."""
    return set(sorted(values, key=values.get, reverse=True)[: max(int(share * count), 1)])


def clip_cov(d, share, bounds=(1.0, 5.0), low=1.0, high=1.0):
    a = group(d)
    every = covariances(d, a)

    def clipped(i, t):
        return (a[i] < 0 and ratio(d, i, t) < 1 - low) or (a[i] > 0 and ratio(d, i, t) > 1 + high)

    inside = {p: c for p, c in every.items() if bounds[0] < c < bounds[1] and a[p[0]] != 0 and not clipped(*p)}
    gone = highest(inside, share, len(every))
    return token_mean(d, lambda i, t: 0.0 if (i, t) in gone else ppo(ratio(d, i, t), a[i], low, high))


def kl_cov(d, share, coefficient=1.0):
    a = group(d)
    every = covariances(d, a)
    held = highest({p: c for p, c in every.items() if c > 0 and a[p[0]] != 0}, share, len(every))

    def token(i, t):
        penalty = coefficient * abs(d["logps"][i, t] - d["old"][i, t]) if (i, t) in held else 0.0
        return -ratio(d, i, t) * a[i] + penalty

    return token_mean(d, token)


def unbiased_k3(d, beta, low=0.2, high=0.2):
    a = group(d)

    def row(i):
        return mean_of(
            [
                ppo(ratio(d, i, t), a[i], low, high) + beta * ratio(d, i, t) * ref.k3(d["logps"][i, t], d["ref"][i, t])
                for t in tokens(d, i)
            ]
        )

    return ref.per_response(d, row)


def reinforce(d, kind, level, low=0.2, high=0.2):
    """REINFORCE off the sampling policy, by the ratios of tokens or of responses."""
    a = ref.advantages(d, kind)
    whole = sequence(d, "logps") - sequence(d, "old")

    def row(i):
        if level == "sequence":
            return ppo(math.exp(whole[i]), a[i], low, high)
        return sum(ppo(ratio(d, i, t), a[i], low, high) for t in tokens(d, i))

    return ref.per_response(d, row)


def shares(d, a, low, high):
    """Shares of the tokens of active responses that are clipped below and above."""
    places = [(i, t) for i in range(len(a)) if a[i] != 0 for t in tokens(d, i)]
    below = [a[i] < 0 and ratio(d, i, t) < 1 - low for i, t in places]
    above = [a[i] > 0 and ratio(d, i, t) > 1 + high for i, t in places]
    return mean_of(below), mean_of(above)
