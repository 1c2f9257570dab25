"""Groups with the components of a preference model, for the tests of the advantage and the monitor."""

import torch

from fdiv_gym.objectives import GroupBatch
from fdiv_gym_gprl.scores import group_scores


def groups_of(embeddings, eigenvalues, rewards=None):
    """A GroupBatch of prompts: ``embeddings`` one tensor [G, 2k] each, ``eigenvalues`` one list of k each."""
    scores = torch.cat([group_scores(group) for group in embeddings]).double()
    sizes = torch.tensor([len(group) for group in embeddings])
    index = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    lambdas = torch.tensor(eigenvalues, dtype=torch.float64)[index]
    components = {f"gprl/{d}": scores[:, d] for d in range(scores.shape[1])}
    components |= {f"lambda/{d}": lambdas[:, d] for d in range(scores.shape[1])}
    n = len(index)
    rewards = torch.full((n,), 0.5) if rewards is None else rewards
    return GroupBatch(rewards.double(), index, torch.zeros(n).double(), torch.ones(n).long(), components)


def random_groups(seed=0, sizes=(5, 4), k=3, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = [scale * torch.randn(size, 2 * k, generator=generator, dtype=torch.float64) for size in sizes]
    eigenvalues = torch.rand(len(sizes), k, generator=generator).add(0.1).tolist()
    return embeddings, eigenvalues
