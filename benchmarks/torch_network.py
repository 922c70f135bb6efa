"""The published network in plain PyTorch, as a user of it would write it: what this package is timed against."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

T, STD, BATCH = 0.05, 0.2329, 16
"""Noise time of scoring, its standard deviation, and the published batch size."""


class TorchNetwork(torch.nn.Module):
    """ScoreAD's network without a condition, with the parameter names of the published file."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.p = torch.nn.ParameterDict(
            {name.replace(".", "_"): torch.nn.Parameter(torch.tensor(value)) for name, value in state.items()}
        )
        self.p["embed_0_W"].requires_grad_(False)

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply a dense layer by name."""
        return torch.nn.functional.linear(x, self.p[f"{name}_weight"], self.p[f"{name}_bias"])

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply a group norm by name, four channels a group."""
        gain, bias = self.p[f"{name}_weight"], self.p[f"{name}_bias"]
        return torch.nn.functional.group_norm(x, x.shape[1] // 4, gain, bias)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``std · score`` [batch, bands] of spectra [batch, bands] at times [batch]."""
        f, silu = torch.nn.functional, torch.nn.functional.silu
        angle = 2 * np.pi * t[:, None] * self.p["embed_0_W"]
        e = silu(self.dense("embed_1", torch.cat([angle.sin(), angle.cos()], 1)))
        h = self.dense("fc1", x) + self.dense("dense1", e)
        h1 = silu(f.layer_norm(h, h.shape[1:], self.p["lnorm1_weight"], self.p["lnorm1_bias"]))[:, None]

        def down(x: torch.Tensor, level: int) -> torch.Tensor:
            y = f.conv1d(x, self.p[f"conv{level}_weight"], stride=2, padding=2)
            return silu(self.norm(f"gnorm{level}", y + self.dense(f"dense{level}_dense", e)[..., None]))

        def up(x: torch.Tensor, level: int) -> torch.Tensor:
            y = f.conv_transpose1d(x, self.p[f"tconv{level}_weight"], None, 2, 2, 1)
            return silu(self.norm(f"tgnorm{level}", y + self.dense(f"tdense{level}_dense", e)[..., None]))

        h2 = down(h1, 2)
        h3 = down(h2, 3)
        u3 = up(torch.cat([up(down(h3, 4), 4), h3], 1), 3)
        u2 = f.conv_transpose1d(torch.cat([u3, h2], 1), self.p["tconv2_weight"], self.p["tconv2_bias"], 2, 2, 1)
        return self.dense("tfc1", torch.cat([u2, h1], 2)[:, 0])


class Torch:
    """A network on PyTorch's device, its optimizer, and the spectra of a scene.

    Args:
        state: parameters by the names of the published file.
        spectra: float32 [pixels, bands].
        device: as PyTorch calls it.
        compiled: whether the network goes through ``torch.compile``.
    """

    def __init__(
        self, state: dict[str, np.ndarray], spectra: np.ndarray, device: str = "cpu", compiled: bool = False
    ) -> None:
        self.x = torch.tensor(spectra, device=device)
        plain = TorchNetwork(state).to(device)
        self.network: Any = torch.compile(plain) if compiled else plain
        self.optimizer = torch.optim.AdamW([p for p in plain.parameters() if p.requires_grad], lr=3e-5)

    def output(self, count: int) -> np.ndarray:
        """``std · score`` of the first spectra, without noise."""
        with torch.no_grad():
            return self.network(self.x[:count], self._time(count)).cpu().numpy()

    def score(self, batch: int, count: int) -> None:
        """Unit scores of one perturbed copy of so many spectra."""
        with torch.no_grad():
            for start in range(0, count, batch):
                part = self.x[start : start + batch]
                s = self.network(part + STD * torch.randn_like(part), self._time(len(part))) / STD
                s.div_(s.norm(dim=1, keepdim=True))

    def train(self, steps: int) -> None:
        """So many steps of the published recipe."""
        device = self.x.device
        for _ in range(steps):
            part = self.x[torch.randint(0, len(self.x), (BATCH,), device=device)]
            t = torch.rand(BATCH, device=device) * (1 - 1e-5) + 1e-5
            std = ((5 ** (2 * t) - 1) / (2 * np.log(5.0))).sqrt()[:, None]
            z = torch.randn_like(part)
            loss = ((self.network(part + std * z, t) + z) ** 2).sum(1).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def seconds(self, work: Callable[[], None]) -> float:
        """Wall-clock time until all is done."""
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _time(self, count: int) -> torch.Tensor:
        return torch.full((count,), T, device=self.x.device)

    def _wait(self) -> None:
        if self.x.is_cuda:
            torch.cuda.synchronize()
