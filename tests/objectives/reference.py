"""Every objective once more, in plain loops and numpy, written from the formulas and not from the code.

A data set ``d`` has arrays ``logps, ref, old`` [N, T], ``mask`` [N, T], ``rewards`` [N] (NaN: no score),
``group`` [N]; preferences have ``logps, ref, mask, chosen, unit``.
"""

import math

import numpy as np


def sequence(d, name):
    """Sums over response tokens, row by row."""
    totals = []
    for row in range(len(d["mask"])):
        total = 0.0
        for t in range(d["mask"].shape[1]):
            if d["mask"][row, t]:
                total += d[name][row, t]
        totals.append(total)
    return np.array(totals)


def tokens(d, row):
    return [t for t in range(d["mask"].shape[1]) if d["mask"][row, t]]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# ---- divergences: link g and conjugate f*, composed --------------------------------------------------

CONJUGATES = {
    "kl": lambda s: math.exp(s - 1),
    "reverse_kl": lambda s: -1 - math.log(-s),
    "pearson": lambda s: s + s * s / 4,
    "hellinger": lambda s: s / (1 - s),
    "jensen_shannon": lambda s: -math.log(2 - math.exp(s)),
    "total_variation": lambda s: s,
}
LINKS = {
    "kl": lambda v: v,
    "reverse_kl": lambda v: -math.exp(-v),
    "pearson": lambda v: v,
    "hellinger": lambda v: 1 - math.exp(-v),
    "jensen_shannon": lambda v: math.log(2) - math.log(1 + math.exp(-v)),
    "total_variation": lambda v: math.tanh(v) / 2,
}


def positive(divergence, v):
    return LINKS[divergence](v)


def negative(divergence, v):
    return CONJUGATES[divergence](LINKS[divergence](v))


# ---- advantages --------------------------------------------------------------------------------------


def members(d, row):
    return [j for j in range(len(d["rewards"])) if d["group"][j] == d["group"][row]]


def scored(d, rows):
    return [j for j in rows if not math.isnan(d["rewards"][j])]


def advantages(d, kind="group", eps=1e-6):
    """One advantage for each row; 0 where there is no score or nothing to compare with."""
    result = []
    for i in range(len(d["rewards"])):
        rows = range(len(d["rewards"])) if kind == "batch" else members(d, i)
        r = [d["rewards"][j] for j in scored(d, rows)]
        if math.isnan(d["rewards"][i]) or min(r) == max(r):
            result.append(0.0)
            continue
        mean = sum(r) / len(r)
        own = d["rewards"][i]
        if kind in ("group", "batch"):
            result.append((own - mean) / (math.sqrt(sum((x - mean) ** 2 for x in r) / len(r)) + eps))
        elif kind == "mean-centred":
            result.append(own - mean)
        elif kind == "leave-one-out":
            others = [d["rewards"][j] for j in scored(d, rows) if j != i]
            result.append(own - sum(others) / len(others))
        elif kind == "max-normalised":
            result.append((own - mean) / max(abs(x - mean) for x in r))
    return np.array(result)


# ---- f-GRPO, FDO, KLDO, f-HAL ------------------------------------------------------------------------


def weight(d, i, sign, weighting):
    """Number of scored responses times the self-normalised importance weight."""
    if weighting == "uniform":
        return 1.0
    logs = sequence(d, "old")
    if weighting == "length_normalised":
        logs = logs / d["mask"].sum(1)
    rows = scored(d, members(d, i))
    raw = {j: math.exp(sign * d["rewards"][j] - logs[j]) for j in rows}
    return len(rows) * raw[i] / sum(raw.values())


def f_grpo(d, divergence="pearson", beta=0.1, gamma=0.0, weighting="uniform", kind="group"):
    v = beta * (sequence(d, "logps") - sequence(d, "ref")) + gamma * (sequence(d, "logps") - sequence(d, "old"))
    a = advantages(d, kind)
    loss = 0.0
    prompts = len(set(d["group"].tolist()))
    for i in range(len(a)):
        if a[i] > 0:
            psi = weight(d, i, 1, weighting) * positive(divergence, v[i])
        elif a[i] < 0:
            psi = weight(d, i, -1, weighting) * negative(divergence, v[i])
        else:
            continue
        loss += -a[i] / (1 + 1 / beta) * psi / len(members(d, i)) / prompts
    return loss


def fdo(p, divergence="jensen_shannon", beta=0.1):
    v = beta * (sequence(p, "logps") - sequence(p, "ref"))
    good = [positive(divergence, v[i]) for i in range(len(v)) if p["chosen"][i]]
    bad = [negative(divergence, v[i]) for i in range(len(v)) if not p["chosen"][i]]
    return -sum(good) / len(good) + sum(bad) / len(bad)


def kldo(p, beta=0.1):
    v = beta * (sequence(p, "logps") - sequence(p, "ref"))
    good = [v[i] for i in range(len(v)) if p["chosen"][i]]
    bad = [math.exp(v[i]) for i in range(len(v)) if not p["chosen"][i]]
    return -sum(good) / len(good) + math.log(sum(bad) / len(bad))


def kldo_release(steps, beta=0.1, rate=0.1, normalise=True):
    """Value and row weights (dL/dv) of each of several steps, as in the release of kldo's authors."""
    average, found = 0.0, []
    for p in steps:
        v = beta * (sequence(p, "logps") - sequence(p, "ref"))
        count = int((~p["chosen"]).sum())
        mean_exp = sum(math.exp(x) for x in v[~p["chosen"]]) / count
        average = mean_exp if average == 0 else rate * mean_exp + (1 - rate) * average
        first, second = float(np.mean(v[p["chosen"]])), math.log(mean_exp)
        factor = min(first, second) / (second + 1e-9) if normalise else 1.0
        weights = [
            -1 / (len(v) - count) if p["chosen"][i] else factor * math.exp(v[i]) / (average + 1e-6) / count
            for i in range(len(v))
        ]
        found.append((-first + factor * second, weights))
    return found


def f_hal(d, p, lam=0.5, off=1.0, divergence="jensen_shannon", beta=0.1, gamma=0.0, weighting="uniform"):
    return lam * off * fdo(p, divergence, beta) + (1 - lam) * f_grpo(d, divergence, beta, gamma, weighting)


# ---- on-policy baselines -----------------------------------------------------------------------------


def k3(policy, ref):
    return math.exp(ref - policy) - (ref - policy) - 1


def ppo(ratio, advantage, low, high):
    return -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def per_response(d, row_value):
    """Mean over prompts of the mean over their responses, unscored ones counted with value 0."""
    groups = sorted(set(d["group"].tolist()))
    total = 0.0
    for g in groups:
        rows = [i for i in range(len(d["rewards"])) if d["group"][i] == g]
        total += sum(row_value(i) for i in scored(d, rows)) / len(rows) / len(groups)
    return total


def ratio(d, i, t):
    return math.exp(d["logps"][i, t] - d["old"][i, t])


def grpo(d, low=0.2, high=0.2, beta=0.04):
    a = advantages(d)

    def row(i):
        each = [
            ppo(ratio(d, i, t), a[i], low, high) + beta * k3(d["logps"][i, t], d["ref"][i, t]) for t in tokens(d, i)
        ]
        return sum(each) / len(each)

    return per_response(d, row)


def dr_grpo(d, low=0.2, high=0.2, length=512):
    a = advantages(d, "mean-centred")
    return per_response(d, lambda i: sum(ppo(ratio(d, i, t), a[i], low, high) for t in tokens(d, i)) / length)


def dapo(d, low=0.2, high=0.28):
    a = advantages(d)
    total = sum(ppo(ratio(d, i, t), a[i], low, high) for i in range(len(a)) for t in tokens(d, i))
    return total / d["mask"].sum()


def gspo(d, low=3e-4, high=4e-4):
    a = advantages(d)

    def row(i):
        mean = sum(d["logps"][i, t] - d["old"][i, t] for t in tokens(d, i)) / len(tokens(d, i))
        return ppo(math.exp(mean), a[i], low, high)

    return per_response(d, row)


def cispo(d, low=1.0, high=4.0, frozen=None):
    """``frozen``: the data whose ratios are the constant weights; None takes d's own."""
    a = advantages(d)
    source = d if frozen is None else frozen
    total = 0.0
    for i in range(len(a)):
        for t in tokens(d, i):
            w = min(max(ratio(source, i, t), 1 - low), 1 + high)
            total -= w * a[i] * d["logps"][i, t]
    return total / d["mask"].sum()


def reinforce(d, kind="batch"):
    a = advantages(d, kind)
    logs = sequence(d, "logps")
    return per_response(d, lambda i: -a[i] * logs[i])


def rloo(d):
    return reinforce(d, "leave-one-out")


# ---- baselines on preferences ------------------------------------------------------------------------


def pairs(p):
    """Rows (chosen, rejected) of each pair."""
    for unit in sorted(set(p["unit"].tolist())):
        rows = [i for i in range(len(p["unit"])) if p["unit"][i] == unit]
        yield next(i for i in rows if p["chosen"][i]), next(i for i in rows if not p["chosen"][i])


def dpo(p, beta=0.1):
    h = sequence(p, "logps") - sequence(p, "ref")
    losses = [-math.log(sigmoid(beta * (h[c] - h[r]))) for c, r in pairs(p)]
    return sum(losses) / len(losses)


def ipo(p, tau=0.1, normalised=True):
    h = sequence(p, "logps") - sequence(p, "ref")
    if normalised:
        h = h / p["mask"].sum(1)
    losses = [(h[c] - h[r] - 1 / (2 * tau)) ** 2 for c, r in pairs(p)]
    return sum(losses) / len(losses)


def simpo(p, beta=2.0, gamma=1.0):
    mean = sequence(p, "logps") / p["mask"].sum(1)
    losses = [-math.log(sigmoid(beta * mean[c] - beta * mean[r] - gamma)) for c, r in pairs(p)]
    return sum(losses) / len(losses)


def kto(p, beta=0.1, desirable=1.0, undesirable=1.0, frozen=None, z0=None):
    source = p if frozen is None else frozen
    h = sequence(p, "logps") - sequence(p, "ref")
    if z0 is None:
        z0 = max(0.0, float(np.mean(sequence(source, "logps") - sequence(source, "ref"))))
    losses = []
    for i in range(len(h)):
        if p["chosen"][i]:
            losses.append(desirable - desirable * sigmoid(beta * (h[i] - z0)))
        else:
            losses.append(undesirable - undesirable * sigmoid(beta * (z0 - h[i])))
    return sum(losses) / len(losses)


def bco(p, beta=0.1, frozen=None, delta=None, rows=False):
    source = p if frozen is None else frozen
    v = beta * (sequence(p, "logps") - sequence(p, "ref"))
    w = beta * (sequence(source, "logps") - sequence(source, "ref"))
    if delta is None:
        delta = (w[p["chosen"]].mean() + w[~p["chosen"]].mean()) / 2
    good = [-math.log(sigmoid(v[i] - delta)) for i in range(len(v)) if p["chosen"][i]]
    bad = [-math.log(sigmoid(delta - v[i])) for i in range(len(v)) if not p["chosen"][i]]
    if rows:
        return (sum(good) + sum(bad)) / len(v)
    return sum(good) / len(good) + sum(bad) / len(bad)


def likelihood(p, summed=False):
    """Negative log-likelihood of the chosen responses: of a token, or of a whole response."""
    rows = [i for i in range(len(p["chosen"])) if p["chosen"][i]]
    count = len(rows) if summed else sum(len(tokens(p, i)) for i in rows)
    return -sum(sequence(p, "logps")[i] for i in rows) / count


def cpo(p, beta=0.1, coefficient=1.0, summed=False):
    s = sequence(p, "logps")
    losses = [-math.log(sigmoid(beta * s[c] - beta * s[r])) for c, r in pairs(p)]
    return sum(losses) / len(losses) + coefficient * likelihood(p, summed)


def orpo(p, lam=0.1):
    probability = np.exp(sequence(p, "logps") / p["mask"].sum(1))
    odds = probability / (1 - probability)
    losses = [-math.log(sigmoid(math.log(odds[c] / odds[r]))) for c, r in pairs(p)]
    return likelihood(p) + lam * sum(losses) / len(losses)


def slic(p, beta=0.1, margin=1.0, reference=True, coefficient=0.0):
    s = sequence(p, "logps") - (sequence(p, "ref") if reference else 0.0)
    losses = [max(0.0, margin - beta * (s[c] - s[r])) for c, r in pairs(p)]
    return sum(losses) / len(losses) + coefficient * likelihood(p)


def per_pair(p, beta, loss):
    """Mean over pairs of loss(v of the chosen, v of the rejected response)."""
    v = beta * (sequence(p, "logps") - sequence(p, "ref"))
    losses = [loss(v[c], v[r]) for c, r in pairs(p)]
    return sum(losses) / len(losses)


def apo_zero(p, beta=0.1):
    return per_pair(p, beta, lambda c, r: 1 - sigmoid(c) + sigmoid(r))


def apo_down(p, beta=0.1):
    return per_pair(p, beta, lambda c, r: sigmoid(c) + 1 - sigmoid(c - r))


def robust_dpo(p, beta=0.1, noise=0.1):
    def loss(c, r):
        kept, exchanged = -math.log(sigmoid(c - r)), -math.log(sigmoid(r - c))
        return ((1 - noise) * kept - noise * exchanged) / (1 - 2 * noise)

    return per_pair(p, beta, loss)


def nca(p, beta=0.1):
    def loss(c, r):
        return -math.log(sigmoid(c)) - 0.5 * math.log(sigmoid(-c)) - 0.5 * math.log(sigmoid(-r))

    return per_pair(p, beta, loss)


def sppo(p, beta=0.1):
    return per_pair(p, 1.0, lambda c, r: (c - 1 / beta * (1 - 0.5)) ** 2 + (r - 1 / beta * (0 - 0.5)) ** 2)


def sft(p, per_token=True):
    rows = [i for i in range(len(p["chosen"])) if p["chosen"][i]]
    if not per_token:
        return -sum(sequence(p, "logps")[i] / len(tokens(p, i)) for i in rows) / len(rows)
    count = sum(len(tokens(p, i)) for i in rows)
    return -sum(sequence(p, "logps")[i] for i in rows) / count
